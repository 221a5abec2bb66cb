//! A clock that jumps, by libfaketime. What jumps is the wall clock; the monotonic clock of a machine does not.

use std::{fs, path::PathBuf};

use segue_testservers::programs;

use crate::place::Place;

/// The wall clock of all commands in a place.
pub struct Clock(PathBuf);

impl Clock {
    /// Gives a place a clock of its own, which is right at first.
    ///
    /// # Panics
    /// If libfaketime is missing: a tool that is missing is no passed test.
    pub fn of(place: &mut Place) -> Self {
        let library = programs::library("faketime/libfaketime.so.1").expect(
            "libfaketime is missing, and without it this is not tested; install it: apt-get install libfaketime",
        );
        let clock = place.file("clock");
        fs::write(&clock, "+0\n").unwrap();
        place.set("LD_PRELOAD", &library.display().to_string());
        place.set("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string());
        place.set("FAKETIME_NO_CACHE", "1");
        place.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        place.set("DONT_FAKE_MONOTONIC", "1");
        Self(clock)
    }

    /// The clock is so many seconds off from now on.
    pub fn jump(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, &self.0).unwrap();
    }
}
