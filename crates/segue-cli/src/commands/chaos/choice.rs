//! The moments of an undisturbed run, and which of them get a round.

use crate::{
    args::ChaosArgs,
    chaos::{
        ledger::{About, Entry, Line},
        plan::{Kill, Side},
    },
};

/// Recoveries are killed at one of their first moments.
const EARLY: u64 = 4;

/// One kill that could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) kill: Kill,
    /// What happens at that moment, in an undisturbed run.
    pub(super) label: String,
}

impl Point {
    /// Is the engine killed there, and not its workers?
    fn is_of_engine(&self) -> bool {
        self.kill.side != Side::Workers
    }
}

/// One round: a run of its own, killed there; and perhaps the process that recovers it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) point: Option<Point>,
    pub(super) again: Option<Kill>,
}

/// What the processes of a round are told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kills {
    pub(super) first: Option<Kill>,
    pub(super) again: Option<Kill>,
}

impl Round {
    /// Nobody is killed.
    pub(super) fn undisturbed() -> Kills {
        Kills::default()
    }

    pub(super) fn plan(&self) -> Kills {
        Kills { first: self.point.as_ref().map(|point| point.kill), again: self.again }
    }

    /// The name of its folder.
    pub(super) fn name(&self, n: usize) -> String {
        format!("round-{}", n + 1)
    }

    /// `engine killed before commit 7 (task.succeeded summarize)`
    pub(super) fn in_words(&self) -> String {
        let Some(Point { kill, label }) = &self.point else { return "undisturbed".to_owned() };
        match kill.side {
            Side::Before => format!("engine killed before moment {} ({label})", kill.moment),
            Side::After => format!("engine killed after moment {} ({label})", kill.moment),
            Side::Workers => format!("workers killed at moment {} ({label})", kill.moment),
        }
    }
}

/// All kills that an undisturbed run has moments for, in their order.
pub(super) fn points(ledger: &[Line]) -> Vec<Point> {
    let mut points = Vec::new();
    for line in ledger {
        let Entry::Moment { n, about, label } = &line.entry else { continue };
        let sides: &[Side] = match about {
            About::Commit => &[Side::Before, Side::After],
            About::Answer => &[Side::Before, Side::After, Side::Workers],
            About::Start => &[Side::Workers],
        };
        points.extend(sides.iter().map(|side| Point { kill: Kill { moment: *n, side: *side }, label: label.clone() }));
    }
    points.retain(|point| point.is_of_engine() || has_workers(ledger));
    points
}

/// Are there workers that could be killed?
fn has_workers(ledger: &[Line]) -> bool {
    ledger.iter().any(|line| matches!(&line.entry, Entry::Moment { about: About::Start, .. }))
}

/// The rounds that are asked for: evenly spread where there are more moments.
pub(super) fn rounds(points: &[Point], args: &ChaosArgs) -> Vec<Round> {
    let mut random = fastrand::Rng::with_seed(args.seed);
    let every = usize::try_from(args.every).unwrap_or(usize::MAX);
    let most = usize::try_from(args.kills).unwrap_or(usize::MAX);
    let candidates: Vec<&Point> = points.iter().step_by(every).collect();
    let n = candidates.len().min(most);
    let chosen = (0..n).map(|at| {
        let part = &candidates[at * candidates.len() / n..(at + 1) * candidates.len() / n];
        // However few rounds are asked for: the engine is killed in one of them.
        let engines: Vec<&Point> = part.iter().copied().filter(|point| at == 0 && point.is_of_engine()).collect();
        let part = if engines.is_empty() { part } else { &engines };
        part[random.usize(..part.len())].clone()
    });
    let chosen: Vec<Point> = chosen.collect();
    chosen
        .into_iter()
        .enumerate()
        .map(|(at, point)| Round { again: again(&point, at, &mut random), point: Some(point) })
        .collect()
}

/// In the place of a round whose moment did not come, since no two runs are quite alike: a kill of the same kind at the
/// nearest moment before it that has had no round.
pub(super) fn instead(of: &Round, points: &[Point], rounds: &[Round]) -> Option<Round> {
    let missed = of.point.as_ref()?;
    let is_alike = |point: &&Point| {
        point.is_of_engine() == missed.is_of_engine()
            && point.kill.moment < missed.kill.moment
            && rounds.iter().all(|round| round.point.as_ref() != Some(*point))
    };
    Some(Round { point: Some(points.iter().rev().find(is_alike)?.clone()), again: of.again })
}

/// Every third recovery is killed too.
fn again(point: &Point, at: usize, random: &mut fastrand::Rng) -> Option<Kill> {
    let kill = Kill { moment: random.u64(1..=EARLY), side: if random.bool() { Side::Before } else { Side::After } };
    (at % 3 == 1 && point.is_of_engine()).then_some(kill)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn moment(n: u64, about: About) -> Line {
        Line { at: n, entry: Entry::Moment { n, about, label: format!("m{n}") } }
    }

    fn args(words: &[&str]) -> ChaosArgs {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            args: ChaosArgs,
        }
        let only: Only = clap::Parser::parse_from([&["chaos", "w.yaml"], words].concat());
        only.args
    }

    #[test]
    fn each_kind_of_moment_has_its_kills() {
        let ledger = [moment(1, About::Commit), moment(2, About::Start), moment(3, About::Answer)];
        let sides: Vec<(u64, Side)> =
            points(&ledger).iter().map(|point| (point.kill.moment, point.kill.side)).collect();
        use Side::{After, Before, Workers};
        assert_eq!(sides, [(1, Before), (1, After), (2, Workers), (3, Before), (3, After), (3, Workers)]);
        // Where the engine itself asks models there are no workers.
        assert_eq!(points(&[moment(1, About::Answer)]).len(), 2);
    }

    #[test]
    fn rounds_are_spread_over_the_whole_run_and_the_seed_chooses() {
        let ledger: Vec<Line> = (1..=50).map(|n| moment(n, About::Commit)).collect();
        let all = points(&ledger);
        assert_eq!(rounds(&all, &args(&[])).len(), 100);
        assert_eq!(rounds(&all, &args(&["--every", "10"])).len(), 10);
        let ten = rounds(&all, &args(&["--kills", "10"]));
        let moments: Vec<u64> = ten.iter().filter_map(|round| Some(round.point.as_ref()?.kill.moment)).collect();
        assert!(moments.len() == 10 && moments.is_sorted() && moments[0] <= 5 && moments[9] > 45, "{moments:?}");
        assert_eq!(ten, rounds(&all, &args(&["--kills", "10"])), "one seed, one choice");
        assert_ne!(ten, rounds(&all, &args(&["--kills", "10", "--seed", "2"])));
        assert!(ten.iter().any(|round| round.again.is_some()), "some recoveries are killed too");
        assert!(rounds(&[], &args(&[])).is_empty());
    }

    #[test]
    fn the_engine_is_killed_however_few_rounds_there_are() {
        let ledger =
            [moment(1, About::Commit), moment(2, About::Start), moment(3, About::Start), moment(4, About::Start)];
        let all = points(&ledger);
        for seed in 0..50 {
            let one = rounds(&all, &args(&["--kills", "1", "--seed", &seed.to_string()]));
            assert!(one[0].point.as_ref().is_some_and(Point::is_of_engine), "{one:?}");
        }
    }

    #[test]
    fn a_moment_that_did_not_come_is_made_up_for_by_an_earlier_one() {
        let ledger =
            [moment(1, About::Commit), moment(2, About::Start), moment(3, About::Commit), moment(4, About::Start)];
        let all = points(&ledger);
        let mut had = vec![Round { point: all.last().cloned(), again: None }];
        let mut kills = Vec::new();
        while let Some(other) = instead(&had[had.len() - 1], &all, &had) {
            kills.push(other.plan().first.unwrap());
            had.push(other);
        }
        assert_eq!(kills, [Kill { moment: 2, side: Side::Workers }], "a worker's for a worker's, and none twice");
        had.push(Round { point: Some(all[4].clone()), again: None });
        let other = instead(&had[had.len() - 1], &all, &had).unwrap().plan().first.unwrap();
        assert_eq!(other, Kill { moment: 1, side: Side::After });
    }
}
