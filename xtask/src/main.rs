//! The project's own commands. `cargo xtask test` does what CI does; `cargo xtask test --list` says what that is.
//!
//! * [`mod@test`]: every check there is, step by step.
//! * [`mod@bench`]: the durable no-op workloads.
//! * [`mod@guard`]: what the kernel and the commit path cost, in instructions.
//! * [`mod@faults`]: the long form of the fault harnesses.
//! * [`mod@fuzz`]: hostile inputs, made by cargo-fuzz.
//! * [`mod@services`]: PostgreSQL and Redis for tests.
//! * [`house`]: where things are, and running programs there.

mod bench;
mod faults;
mod fuzz;
mod guard;
mod house;
mod services;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need and run all of them, as CI does
    Test(test::Arguments),
    /// Measure the durable no-op workloads on this machine
    Bench(bench::Arguments),
    /// Count the instructions of the kernel and the commit path (needs valgrind)
    Guard(guard::Arguments),
    /// Run a command with PostgreSQL and Redis for tests beside it: `cargo xtask services -- cargo test -p segue-postgres`
    Services(services::Arguments),
    /// Kill the release build a thousand times, and let its calls, clock and connections fail (needs strace, libfaketime)
    Faults(faults::Arguments),
    /// Feed hostile inputs to readers and expressions (needs cargo-fuzz)
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = house::House::find().and_then(|house| match arguments.command {
        Command::Test(arguments) => test::run(&house, &arguments),
        Command::Bench(arguments) => bench::run(&house, &arguments),
        Command::Guard(arguments) => guard::command(&house, &arguments),
        Command::Services(arguments) => services::run(&house, &arguments),
        Command::Faults(arguments) => faults::carry_out(&house, &arguments),
        Command::Fuzz(arguments) => fuzz::run_all(&house, &arguments),
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
