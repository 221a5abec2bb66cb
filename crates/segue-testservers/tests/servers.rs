//! The servers start, answer, come back on the same port and data, and never outlive whoever started them.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use segue_testservers::{PostgresServer, RedisServer, programs};

fn psql(server: &PostgresServer, sql: &str) -> String {
    let psql = programs::postgres().unwrap().join("psql");
    let output = Command::new(psql).args(["--no-psqlrc", "-qtA", "-c", sql, &server.url()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn postgres_keeps_what_is_committed_over_a_crash() {
    let mut server = PostgresServer::start_with(&["max_connections=17"]).unwrap();
    assert_eq!(psql(&server, "SHOW max_connections"), "17");
    assert_eq!(psql(&server, "SHOW fsync"), "on");
    psql(&server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    let url = server.url();
    server.stop_immediate().unwrap();
    server.restart().unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(psql(&server, "SELECT n FROM kept"), "7");
    let pid = server.pid();
    drop(server);
    assert!(has_ended(pid));
}

#[test]
fn redis_forgets_and_comes_back() {
    let mut server = RedisServer::start().unwrap();
    let first = server.pid();
    server.signal("STOP").unwrap();
    server.restart().unwrap();
    assert!(has_ended(first));
    assert_ne!(server.pid(), first);
    let pid = server.pid();
    drop(server);
    assert!(has_ended(pid));
}

/// Not a test of its own: what [`a_killed_starter_takes_its_servers_along`] kills.
#[test]
fn starter() {
    if env::var_os("SEGUE_TEST_STARTER").is_none() {
        return;
    }
    let (postgres, redis) = (PostgresServer::start().unwrap(), RedisServer::start().unwrap());
    println!("\nservers {} {}", postgres.pid(), redis.pid());
    thread::park();
}

#[test]
fn a_killed_starter_takes_its_servers_along() {
    let mut starter = Command::new(env::current_exe().unwrap());
    starter.args(["starter", "--exact", "--nocapture"]).env("SEGUE_TEST_STARTER", "1").stdout(Stdio::piped());
    let mut starter = starter.spawn().unwrap();
    let mut lines = BufReader::new(starter.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pids = lines.find_map(|line| line.strip_prefix("servers ").map(str::to_owned)).unwrap();
    let pids = pids.split(' ').map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>();
    let folders = pids.iter().map(|pid| fs::read_link(format!("/proc/{pid}/cwd")).unwrap()).collect::<Vec<_>>();
    assert!(pids.iter().all(|pid| !has_ended(*pid)));
    // SIGKILL.
    starter.kill().unwrap();
    starter.wait().unwrap();
    within_patience("the servers end", || pids.iter().all(|pid| has_ended(*pid)));
    // PostgreSQL works in its data folder, which lies in the server's folder.
    within_patience("their folders are removed", || folders.iter().all(|folder| !folder.exists()));
}

fn has_ended(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn within_patience(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(20));
    }
}
