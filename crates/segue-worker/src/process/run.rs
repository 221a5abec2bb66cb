//! One process, from its start to its certain end.

use std::io;

use nix::errno::Errno;
use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::Invocation,
};
use tokio::io::{AsyncRead, AsyncWriteExt};

use super::{
    OUTPUT_LINGERS_MAX, answer,
    inputs::{Form, ProcessTask},
};
use crate::contain::{Launch, LaunchError, LogFlow, Tail, TooLarge, forward_lines, read_to_limit};

/// Of stderr, this much is kept for the error.
const STDERR_TAIL_BYTES: usize = 8 * 1024;

/// What made us stop listening to the process.
enum Stop {
    Ended(std::io::Result<std::process::ExitStatus>),
    TooLarge(TooLarge),
    Cancelled,
}

pub(super) async fn run(task: ProcessTask, invocation: &Invocation) -> TaskOutcome {
    let launch = Launch { argv: task.argv, cwd: task.cwd, env: task.env, stdin: task.stdin.is_some() };
    let mut process = match launch.start() {
        Ok(process) => process,
        Err(error) => return failed(load_error(&error)),
    };
    let (stdout, stderr) = process.take_output().expect("the output of a fresh process has not been taken");
    let stdin = process.take_stdin();
    let (mut output, mut tail) = (Vec::new(), Tail::new(STDERR_TAIL_BYTES));

    let feed = async {
        if let (Some(mut pipe), Some(text)) = (stdin, &task.stdin) {
            // A process need not read its stdin to the end.
            let _ = pipe.write_all(text).await;
        }
        Ok(())
    };
    let sink = &*invocation.progress;
    let heard = async {
        let _ = forward_lines(stderr, &mut LogFlow::new("stderr"), &mut tail, sink).await;
        Ok(())
    };
    let told = read_output(stdout, &mut output, task.output_bytes_max, task.form, invocation);

    let mut is_drained = false;
    let (stop, left_behind) = {
        let mut io = std::pin::pin!(async { tokio::try_join!(feed, heard, told).map(|_| ()) });
        let mut cancelled = invocation.cancel.cancelled();
        let stop = loop {
            tokio::select! {
                biased;
                ended = process.wait() => break Stop::Ended(ended),
                () = &mut cancelled => break Stop::Cancelled,
                end = &mut io, if !is_drained => match end {
                    Ok(()) => is_drained = true,
                    Err(too_large) => break Stop::TooLarge(too_large),
                },
            }
        };
        match stop {
            Stop::Ended(Ok(status)) => {
                let left_behind = process.finish().await;
                // With everything dead that held the pipes, the rest comes at once; what cannot be found is not waited for.
                let rest = match is_drained {
                    true => Ok(()),
                    false => tokio::time::timeout(OUTPUT_LINGERS_MAX, io).await.unwrap_or(Ok(())),
                };
                (rest.map_or_else(Stop::TooLarge, |()| Stop::Ended(Ok(status))), left_behind)
            }
            other => {
                let grace = if matches!(other, Stop::Cancelled) { invocation.grace } else { Default::default() };
                // Its output is read on while it ends: it could wait for us to do so.
                let (_, _) = tokio::join!(process.end(grace), async {
                    if matches!(other, Stop::Cancelled) && !is_drained {
                        let _ = tokio::time::timeout(grace, io).await;
                    }
                });
                (other, 0)
            }
        }
    };
    match stop {
        Stop::Cancelled => TaskOutcome::Cancelled { usage: Usage::default() },
        Stop::TooLarge(TooLarge { limit }) => failed(TaskError::new(
            ErrorKind::Output,
            format!("stdout is longer than {limit} bytes; write large results to a file and print its path"),
        )),
        Stop::Ended(Err(error)) => {
            failed(TaskError::new(ErrorKind::WorkerLost, format!("its end could not be observed: {error}")))
        }
        Stop::Ended(Ok(status)) => {
            if let Some(error) = answer::failure(status, &task.expect_exit, &tail.text()) {
                return failed(error);
            }
            match answer::output(output, task.form) {
                Ok(value) => TaskOutcome::Succeeded {
                    output: Payload::new(value),
                    usage: Usage::default(),
                    warnings: warnings(left_behind),
                },
                Err(error) => failed(error),
            }
        }
    }
}

/// Reads stdout; logs its lines too where they are text and not a document.
async fn read_output(
    stdout: impl AsyncRead + Unpin,
    output: &mut Vec<u8>,
    limit: usize,
    form: Form,
    invocation: &Invocation,
) -> Result<(), TooLarge> {
    let sink = &*invocation.progress;
    let mut flow = LogFlow::new("stdout");
    let mut is_text = (form != Form::Either).then_some(form == Form::Text);
    let end = read_to_limit(stdout, output, limit, |piece| {
        if is_text.is_none() {
            let first = piece.iter().find(|byte| !byte.is_ascii_whitespace());
            is_text = first.map(|byte| !matches!(byte, b'{' | b'[' | b'"'));
        }
        if is_text == Some(true) {
            flow.push(piece, sink);
        }
    })
    .await;
    flow.finish(sink);
    end
}

fn warnings(left_behind: usize) -> Vec<String> {
    match left_behind {
        0 => Vec::new(),
        1 => vec!["it left a process behind, which was ended".to_owned()],
        n => vec![format!("it left {n} processes behind, which were ended")],
    }
}

fn load_error(error: &LaunchError) -> TaskError {
    let kind = match error {
        LaunchError::Program { .. } => ErrorKind::Load,
        LaunchError::NoFolder(_) | LaunchError::Arguments { .. } => ErrorKind::InvalidInput,
    };
    let mut failure = TaskError::new(kind, error.to_string());
    failure.retryable |= matches!(error, LaunchError::Program { source, .. } if is_over_in_a_moment(source));
    failure
}

/// Somebody is still writing the program's file (or has just forked with it open); or the system has no file descriptor,
/// process or memory to give, and has again when others give theirs back.
fn is_over_in_a_moment(refused: &io::Error) -> bool {
    const OVER: [Errno; 5] = [Errno::ETXTBSY, Errno::EMFILE, Errno::ENFILE, Errno::EAGAIN, Errno::ENOMEM];
    refused.raw_os_error().is_some_and(|code| OVER.contains(&Errno::from_raw(code)))
}

fn failed(error: TaskError) -> TaskOutcome {
    TaskOutcome::Failed { error, usage: Usage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_over_in_a_moment_is_worth_another_try() {
        let refused = |errno: Errno| {
            let source = io::Error::from_raw_os_error(errno as i32);
            load_error(&LaunchError::Program { program: "step.sh".to_owned(), source })
        };
        for errno in [Errno::ETXTBSY, Errno::EMFILE, Errno::ENFILE, Errno::EAGAIN, Errno::ENOMEM] {
            let error = refused(errno);
            assert!(error.kind == ErrorKind::Load && error.retryable, "{error:?}");
        }
        for errno in [Errno::ENOENT, Errno::EACCES, Errno::ENOEXEC] {
            let error = refused(errno);
            assert!(error.kind == ErrorKind::Load && !error.retryable, "{error:?}");
        }
        assert!(!load_error(&LaunchError::NoFolder("/no/such".into())).retryable);
    }
}
