//! Many cases, two at a time, and what came of them.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    points::{Groups, Point},
    program,
};

/// How much is to be done.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// So many times it must have gone wrong.
    pub hits: usize,
    /// With this bug planted.
    pub mutant: Option<String>,
    /// End at the first problem.
    pub until_caught: bool,
    /// The order of the points.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How often it went wrong, by workload, phase and call.
    pub hits: BTreeMap<String, usize>,
    /// The points that there were.
    pub points: usize,
    /// Points that their thread did not come to this time, or that made no difference.
    pub missed: usize,
    /// What is broken, with its point.
    pub problems: Vec<String>,
    /// How long all of it took.
    pub took: Duration,
    /// The order of the points.
    pub seed: u64,
}

/// So much of a problem, and so many of them, are shown where there is little room.
const SHOWN_BYTES: usize = 700;
const SHOWN: usize = 8;

impl Report {
    /// How many times something went wrong.
    pub fn total(&self) -> usize {
        self.hits.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, points, missed, problems) = (self.total(), self.points, self.missed, self.problems.len());
        let (seconds, seed) = (self.took.as_secs_f64(), self.seed);
        writeln!(
            f,
            "{problems} problems in {total} hits of {points} points ({missed} missed), {seconds:.1} s, SEGUE_SEED={seed}"
        )?;
        // First what is broken, in few lines: the end of a log may be cut off.
        for problem in self.problems.iter().take(SHOWN) {
            writeln!(f, "  {}", cut(problem))?;
        }
        if problems > SHOWN {
            writeln!(f, "  … and {} more", problems - SHOWN)?;
        }
        self.hits.iter().try_for_each(|(what, hits)| writeln!(f, "  {hits:>5}  {what}"))
    }
}

fn cut(text: &str) -> String {
    let end = (0..=SHOWN_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// Lets it go wrong at a point, with a planted bug or none. Did it come to that, and what is broken?
pub type Try<'a> = &'a (dyn Fn(&Point<'_>, Option<&str>) -> (bool, Vec<String>) + Sync);

/// Carries out what is planned. `groups`: points of one kind each, from which it takes in turn.
pub fn carry_out(groups: Groups<'_>, plan: &Plan, attempt: Try<'_>) -> Report {
    program::need("strace", "strace");
    let started = Instant::now();
    let points = groups.iter().map(Vec::len).sum();
    let queue = Mutex::new(in_turn(groups, plan).into_iter());
    let report = Mutex::new(Report { points, seed: plan.seed, ..Report::default() });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(point) = next(&queue, &report, plan) {
                    // A wait that is given up panics; the others go on.
                    let tried = catch_unwind(AssertUnwindSafe(|| attempt(&point, plan.mutant.as_deref())));
                    let (is_hit, problems) = tried.unwrap_or_else(|panic| (true, vec![text_of(&*panic)]));
                    let mut report = report.lock().unwrap();
                    match is_hit {
                        true => *report.hits.entry(point.group()).or_default() += 1,
                        false => report.missed += 1,
                    }
                    for problem in problems {
                        let problem = format!("{point}: {problem}");
                        // At once: whoever waits sees it.
                        println!("PROBLEM {}", cut(&problem));
                        report.problems.push(problem);
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap();
    report.took = started.elapsed();
    report
}

/// What a panic said.
pub fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn next<'a>(queue: &Mutex<impl Iterator<Item = Point<'a>>>, report: &Mutex<Report>, plan: &Plan) -> Option<Point<'a>> {
    let is_over = {
        let report = report.lock().unwrap();
        report.total() >= plan.hits || (plan.until_caught && !report.problems.is_empty())
    };
    if is_over { None } else { queue.lock().unwrap().next() }
}

/// One of each group after the other, each group's in an order of chance; again and again until there are enough.
fn in_turn<'a>(mut groups: Groups<'a>, plan: &Plan) -> Vec<Point<'a>> {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    groups.iter_mut().for_each(|group| random.shuffle(group));
    if let Some(wanted) = program::points_wanted() {
        groups.iter_mut().for_each(|group| group.retain(|point| point.to_string().contains(&wanted)));
        groups.retain(|group| !group.is_empty());
    }
    random.shuffle(&mut groups);
    let longest = groups.iter().map(Vec::len).max().unwrap_or_default();
    let mut all: Vec<Point<'a>> =
        (0..longest).flat_map(|round| groups.iter().filter_map(move |group| group.get(round).cloned())).collect();
    // Some of them are missed.
    while !all.is_empty() && all.len() < 3 * plan.hits {
        all.extend_from_within(..);
    }
    all
}
