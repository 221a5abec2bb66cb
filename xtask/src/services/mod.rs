//! `cargo xtask services -- COMMAND`: PostgreSQL and Redis for tests, as long as the command runs.

pub(crate) mod packages;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use segue_testservers::{PostgresServer, RedisServer, programs};

use self::packages::Packages;
use crate::house::House;

/// Arguments of `cargo xtask services`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to run with `SEGUE_TEST_POSTGRES` and `SEGUE_TEST_REDIS` set to the servers' URLs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// One server of each kind. Dropped, they are gone; so they are if this process is killed.
pub(crate) struct Services {
    postgres: PostgresServer,
    redis: RedisServer,
    packages: Packages,
}

impl Services {
    /// Installs what is missing, says what it does, and starts the servers.
    pub(crate) fn start(house: &House) -> Result<Self> {
        let packages = Packages::of(house);
        provide(house, &packages)?;
        // Many tests run at once, and each keeps a pool.
        let postgres = PostgresServer::start_with(&["max_connections=200"]).context("cannot start PostgreSQL")?;
        let redis = RedisServer::start().context("cannot start Redis")?;
        println!("services: PostgreSQL on port {}, Redis on port {}", postgres.port(), redis.port());
        Ok(Self { postgres, redis, packages })
    }

    /// Lets a program use them.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.env("SEGUE_TEST_POSTGRES", self.postgres.url()).env("SEGUE_TEST_REDIS", self.redis.url());
        self.packages.hand_to(command);
    }
}

/// Installs the servers' programs where they are missing.
pub(crate) fn provide(house: &House, packages: &Packages) -> Result<()> {
    let found = [("postgresql", programs::postgres().is_ok()), ("redis-server", programs::redis().is_ok())];
    let missing = found.into_iter().filter(|(_, is_there)| !is_there).map(|(package, _)| package);
    packages.install(house, &missing.collect::<Vec<_>>())?;
    println!("services: {}, {}", programs::postgres()?.join("postgres").display(), programs::redis()?.display());
    Ok(())
}

pub(crate) fn run(house: &House, arguments: &Arguments) -> Result<ExitCode> {
    let services = Services::start(house)?;
    let (program, rest) = arguments.command.split_first().expect("clap wants one");
    // In the folder where this was called, unlike our own commands.
    let mut command = Command::new(program);
    services.hand_to(command.args(rest));
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    drop(services);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
