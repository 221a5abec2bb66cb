//! What has ended is also gone. Alone in its process: the zombies of other tests would be counted.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    time::{Duration, Instant},
};

use segue_core::{outcome::TaskOutcome, ports::Adapter};
use segue_testkit::conformance::adapter::Case;
use segue_worker::process::ProcessAdapter;
use serde_json::json;

async fn run(argv: &[&str]) {
    let case = Case::new("process.run", json!({ "argv": argv }));
    let outcome = ProcessAdapter.execute(case.invocation("task", 1).0).await;
    assert!(matches!(outcome, TaskOutcome::Succeeded { .. }), "{outcome:?}");
}

/// The names of our children that have ended and that nobody has reaped.
fn zombies() -> Vec<String> {
    let ours = std::process::id().to_string();
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        fs::read_to_string(entry.path().join("stat")).ok()
    });
    let is_zombie_of_ours = |stat: &String| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.first() == Some(&"Z") && fields.get(1) == Some(&ours.as_str())
    };
    stats.filter(is_zombie_of_ours).collect()
}

#[tokio::test]
async fn no_zombies_and_no_great_cost() {
    let start = Instant::now();
    let count = 200;
    for _ in 0..count {
        run(&["true"]).await;
    }
    println!("{:?} a process", start.elapsed() / count);
    assert_eq!(zombies(), [""; 0]);
    for script in ["setsid -f true; true & exit 0", "for n in 1 2 3 4 5; do setsid -f sh -c 'true & true'; done"] {
        run(&["sh", "-c", script]).await;
    }
    // The last orphans may still be about to end; the next process that ends sees to them.
    let give_up = Instant::now() + Duration::from_secs(60);
    while !zombies().is_empty() && Instant::now() < give_up {
        run(&["true"]).await;
    }
    assert_eq!(zombies(), [""; 0]);
}
