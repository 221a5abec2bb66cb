//! Between an engine and PostgreSQL connections are cut, delayed and half closed, answers to commits are lost, and the server
//! is stopped, while runs go on. Each step is done once, all the same.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use segue_faults::{between::Between, place::until, program};

fn whatever_happens(disturb: impl FnMut(&mut Between, usize)) {
    let problems = Between::on_shared_server().disturbed(None, disturb);
    assert_eq!(problems, [""; 0]);
}

#[test]
fn connections_are_cut() {
    whatever_happens(|between, _| between.proxy.cut());
}

#[test]
fn connections_are_half_closed() {
    whatever_happens(|between, _| between.proxy.half_close());
}

#[test]
fn every_answer_takes_its_time() {
    whatever_happens(|between, n| between.proxy.delay(Duration::from_millis(20 * n as u64)));
}

#[test]
fn the_answers_to_commits_are_lost() {
    whatever_happens(Between::lose_an_answer);
}

/// The server is killed, and is away for longer than the engine's lease; in the long form for a minute.
#[test]
fn the_database_is_away_for_longer_than_a_lease() {
    let problems = Between::on_own_server().disturbed(None, |between, n| {
        if n == 3 {
            let server = between.server.as_mut().unwrap();
            server.stop_immediate().unwrap();
            std::thread::sleep(program::away());
            server.restart().unwrap();
        }
    });
    assert_eq!(problems, [""; 0]);
}

/// It refuses and cuts, as a firewall does: nobody says why.
#[test]
fn the_way_to_the_database_is_closed_for_a_while() {
    whatever_happens(|between, n| {
        if n == 3 {
            let made = between.proxy.connections();
            between.proxy.refuse(true);
            between.proxy.cut();
            until("the engine has tried again", || (between.proxy.refused() > 2).then_some(()));
            between.proxy.refuse(false);
            until("it is back", || (between.proxy.connections() > made).then_some(()));
        }
    });
}
