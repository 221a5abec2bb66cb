//! The threads that a command works with.

use std::{io, panic, sync::mpsc, thread};

use tokio::runtime::{Builder, Runtime};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// A thread a core.
///
/// Where the system refuses one of them tokio panics, and while that unwinds it waits for ever for those that it did get.
/// So a thread of its own makes them: should it come to that, that thread is left where it is, and this one says why.
pub(crate) fn start() -> Outcome<Runtime> {
    let (sender, made) = mpsc::channel();
    let panicked = sender.clone();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let why = panic.payload_as_str().unwrap_or("a panic");
        // Told once: nobody listens any more.
        let _ = panicked.send(Err(io::Error::other(why)));
    }));
    let maker = thread::Builder::new().name("segue-start".to_owned()).spawn(move || {
        let _ = sender.send(Builder::new_multi_thread().enable_all().build());
    });
    let runtime = maker.and_then(|_| made.recv().unwrap_or_else(|_| Err(io::Error::other("nobody made them"))));
    panic::set_hook(usual);
    runtime.map_err(|error| {
        Failure::new(Exit::Internal, format!("no threads to work with: {error}"))
            .help("allow this user more processes and threads: `ulimit -u`, in a container its limit of pids")
    })
}
