//! Following a run: the stream of its events, what they add up to, and how that is shown while it goes on.

mod build;
mod follow;
mod frame;
mod limits;
mod lines;
mod task;
mod view;

pub(crate) use build::BuildProgressLine;
pub(crate) use follow::Follow;
pub(crate) use frame::{Size, frame};
pub(crate) use limits::LimitLook;
pub(crate) use lines::EventLines;
pub(crate) use view::RunView;
