//! The wall clock jumps by an hour under a running engine.
#![allow(clippy::unwrap_used)]

use segue_faults::jump;

#[test]
fn an_hour_forward() {
    assert_eq!(jump::by(3_600, None), [""; 0]);
}

#[test]
fn an_hour_back() {
    assert_eq!(jump::by(-3_600, None), [""; 0]);
}
