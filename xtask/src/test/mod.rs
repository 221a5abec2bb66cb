//! `cargo xtask test`: every check there is. Goes on after a failure, so that one run shows all of them.

mod binaries;
mod python;
mod report;
mod rust;
mod tools;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use self::report::{Outcome, report};
pub(crate) use self::rust::MUTANTS;
use crate::{guard, house::House};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step (and what it needs); may be given more than once
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Show the steps and run none
    #[arg(long)]
    list: bool,
}

/// One of the checks.
struct Step {
    name: &'static str,
    about: &'static str,
    /// Steps that must have passed before.
    needs: &'static [&'static str],
    /// It waits for a network or a disk more than it computes: begun as soon as it may, beside what comes before it.
    aside: bool,
    run: fn(&House) -> Result<()>,
}

/// All steps in their order: what fails soon comes first.
const STEPS: &[Step] = &[
    Step {
        name: "tools",
        about: "what the other steps need is on this machine",
        needs: &[],
        aside: false,
        run: tools::check,
    },
    Step { name: "format", about: "rustfmt", needs: &["tools"], aside: false, run: rust::format },
    Step {
        name: "clippy",
        about: "lints of all targets; a warning is a failure",
        needs: &["tools"],
        aside: false,
        run: rust::clippy,
    },
    Step {
        name: "python-env",
        about: "environments with CrewAI (the newest and the oldest) and with LangGraph, from hash-checked locks",
        needs: &["tools"],
        aside: true,
        run: python::environments,
    },
    Step {
        name: "rust",
        about: "unit, conformance, simulation, mutation, tidy and whole-program tests, examples, documentation",
        needs: &["tools", "python-env"],
        aside: false,
        run: rust::tests,
    },
    Step {
        name: "guard",
        about: "what the kernel and the commit path cost, in instructions",
        needs: &["tools"],
        aside: false,
        run: guard::check,
    },
    Step {
        name: "rustdoc",
        about: "the crates' documentation has no broken link",
        needs: &["tools"],
        aside: false,
        run: rust::doc,
    },
    Step {
        name: "ruff",
        about: "lints and format of the Python code",
        needs: &["python-env"],
        aside: false,
        run: python::ruff,
    },
    Step {
        name: "mypy",
        about: "types of the Python code, strictly",
        needs: &["python-env"],
        aside: false,
        run: python::mypy,
    },
    Step {
        name: "pytest",
        about: "the worker against real CrewAI",
        needs: &["python-env"],
        aside: true,
        run: python::pytest,
    },
    Step {
        name: "pytest-floor",
        about: "the worker against the oldest CrewAI that is supported",
        needs: &["python-env"],
        aside: true,
        run: python::pytest_floor,
    },
    Step {
        name: "pytest-lc",
        about: "the worker against real LangChain and LangGraph",
        needs: &["python-env"],
        aside: true,
        run: python::pytest_langchain,
    },
];

pub(crate) fn run(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    let steps = chosen(STEPS, &arguments.only)?;
    if arguments.list {
        for step in &steps {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = carry_out_all(&steps, house);
    print!("{}", report(&outcomes));
    let is_failed = outcomes.iter().any(|outcome| outcome.failure.is_some());
    Ok(if is_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn carry_out_all(steps: &[&Step], house: &House) -> Vec<Outcome> {
    thread::scope(|scope| {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut asides = BTreeMap::new();
        for step in steps {
            let has_passed = |name: &&str| outcomes.iter().any(|done| done.name == *name && done.failure.is_none());
            for aside in steps.iter().filter(|other| other.aside && other.needs.iter().all(has_passed)) {
                asides.entry(aside.name).or_insert_with(|| Some(scope.spawn(|| carry_out(aside, house, &[]))));
            }
            // It stays in the list: what has been waited for is not begun again.
            let outcome = match asides.get_mut(step.name).and_then(Option::take) {
                Some(begun) => begun.join().expect("a step does not panic"),
                None => carry_out(step, house, &outcomes),
            };
            println!();
            outcomes.push(outcome);
        }
        outcomes
    })
}

fn carry_out(step: &Step, house: &House, before: &[Outcome]) -> Outcome {
    let has_failed = |name: &&&str| before.iter().any(|outcome| outcome.name == **name && outcome.failure.is_some());
    if let Some(needed) = step.needs.iter().find(has_failed) {
        let failure = Some(format!("not run: it needs {needed}"));
        return Outcome { name: step.name, elapsed: Duration::ZERO, failure };
    }
    println!("== {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = (step.run)(house);
    let failure = result.err().map(|error| format!("{error:#}"));
    if let Some(failure) = &failure {
        eprintln!("{}: {failure}", step.name);
    }
    Outcome { name: step.name, elapsed: start.elapsed(), failure }
}

/// The steps that are asked for, and those they need, in order. Nothing asked for: all.
fn chosen<'a>(steps: &'a [Step], only: &[String]) -> Result<Vec<&'a Step>> {
    let mut wanted: Vec<&str> = only.iter().map(String::as_str).collect();
    if let Some(unknown) = wanted.iter().find(|name| steps.iter().all(|step| step.name != **name)) {
        let names = steps.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
        bail!("there is no step `{unknown}`; the steps are: {names}");
    }
    // A step needs only steps before it, so one pass from the end finds all.
    for step in steps.iter().rev() {
        if wanted.contains(&step.name) {
            wanted.extend(step.needs);
        }
    }
    Ok(steps.iter().filter(|step| only.is_empty() || wanted.contains(&step.name)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only = only.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        chosen(STEPS, &only).expect("known steps").iter().map(|step| step.name).collect()
    }

    #[test]
    fn a_step_brings_what_it_needs() {
        assert_eq!(names(&["mypy"]), ["tools", "python-env", "mypy"]);
        assert_eq!(names(&["format", "tools"]), ["tools", "format"]);
        assert_eq!(names(&[]).len(), STEPS.len());
        assert!(chosen(STEPS, &["formal".to_owned()]).is_err());
    }

    #[test]
    fn steps_need_only_steps_before_them() {
        for (at, step) in STEPS.iter().enumerate() {
            for needed in step.needs {
                assert!(STEPS[..at].iter().any(|before| before.name == *needed), "{} needs {needed}", step.name);
            }
        }
    }

    #[test]
    fn what_runs_aside_runs_once_and_is_waited_for() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fn count(_: &House) -> Result<()> {
            COUNT.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        let check = |_: &House| if COUNT.load(Ordering::SeqCst) == 1 { Ok(()) } else { bail!("not once") };
        let house = House { root: "/".into(), target: "/".into() };
        let first = Step { name: "first", about: "", needs: &[], aside: false, run: |_| Ok(()) };
        let aside = Step { name: "aside", about: "", needs: &["first"], aside: true, run: count };
        let last = Step { name: "last", about: "", needs: &["aside"], aside: false, run: check };
        let outcomes = carry_out_all(&[&first, &aside, &last], &house);
        assert_eq!(outcomes.iter().map(|outcome| outcome.name).collect::<Vec<_>>(), ["first", "aside", "last"]);
        assert!(outcomes.iter().all(|outcome| outcome.failure.is_none()));
        assert_eq!(COUNT.load(Ordering::SeqCst), 1, "what was waited for is not begun again");
    }

    #[test]
    fn what_needs_a_failed_step_is_not_run() {
        let step = Step { name: "b", about: "", needs: &["a"], aside: false, run: |_| Ok(()) };
        let house = House { root: "/".into(), target: "/".into() };
        let before = |failure| [Outcome { name: "a", elapsed: Duration::ZERO, failure }];
        assert!(carry_out(&step, &house, &before(Some("broken".to_owned()))).failure.is_some());
        assert!(carry_out(&step, &house, &before(None)).failure.is_none());
    }
}
