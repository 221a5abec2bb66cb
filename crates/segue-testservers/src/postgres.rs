//! A PostgreSQL server.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    place::{Folder, free_port, random},
    programs,
    supervisor::Supervisor,
};

/// How long a server may take to be ready, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a port that somebody else took meanwhile is replaced.
const TRIES: usize = 5;

/// A PostgreSQL server with its own data, on a loopback port that stays the same over restarts. Dropped, it is gone with
/// its data.
#[derive(Debug)]
pub struct PostgresServer {
    supervisor: Supervisor,
    bin: std::path::PathBuf,
    port: u16,
    password: String,
}

/// What a server is made of.
#[derive(Default)]
struct Plan<'p> {
    settings: &'p [&'p str],
    /// A certificate and its key.
    tls: Option<(&'p str, &'p str)>,
    /// Whose copy it is.
    primary: Option<&'p PostgresServer>,
}

impl PostgresServer {
    /// Starts a server as it comes, and waits until it answers. `fsync` is on.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with settings: `start_with(&["max_connections=5"])`.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        Self::make(&Plan { settings, ..Plan::default() })
    }

    /// Like [`start`](Self::start), and speaks TLS with who asks for it: with this certificate and its key, both as PEM.
    pub fn start_tls(certificate: &str, key: &str) -> Result<Self> {
        Self::make(&Plan { tls: Some((certificate, key)), ..Plan::default() })
    }

    /// A second server with the data of this one, that follows it and takes no writes until `SELECT pg_promote()`. It goes by
    /// the name `standby` in `synchronous_standby_names`.
    pub fn standby(&self) -> Result<Self> {
        Self::make(&Plan { primary: Some(self), ..Plan::default() })
    }

    fn make(plan: &Plan<'_>) -> Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            let mut server = Self::launch(plan)?;
            match server.wait_ready() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there was a try"))
    }

    fn launch(plan: &Plan<'_>) -> Result<Self> {
        let bin = programs::postgres()?;
        let folder = Folder::make("postgres")?;
        // A copy has the users of the original.
        let password = plan
            .primary
            .map_or_else(|| format!("{:016x}{:016x}", random(), random()), |primary| primary.password.clone());
        folder.write("password", &password)?;
        let port = free_port()?;
        let mut server = vec![bin.join("postgres").display().to_string()];
        for setting in [
            &format!("port={port}"),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=100",
            "jit=off",
            "lc_messages=C",
        ]
        .into_iter()
        .chain(plan.settings.iter().copied())
        {
            server.extend(["-c".to_owned(), setting.to_owned()]);
        }
        if let Some((certificate, key)) = plan.tls {
            server.extend(["-c".to_owned(), "ssl=on".to_owned()]);
            for (setting, name, text) in
                [("ssl_cert_file", "server.crt", certificate), ("ssl_key_file", "server.key", key)]
            {
                folder.write(name, text)?;
                server.extend(["-c".to_owned(), format!("{setting}={}", folder.path.join(name).display())]);
            }
        }
        server.extend(["-D".to_owned(), folder.path.join("data").display().to_string()]);
        // The password goes over loopback in the clear: a test's connection is not to cost a key derivation.
        let (program, prepare) = match plan.primary {
            None => (
                "initdb",
                r#""$PROGRAM" -D data --username=segue --pwfile=password --auth=password --encoding=UTF8 --locale=C --no-sync --no-instructions"#.to_owned(),
            ),
            Some(primary) => (
                "pg_basebackup",
                format!(
                    r#"PGPASSWORD=$(cat password) "$PROGRAM" -D data --write-recovery-conf --wal-method=stream --checkpoint=fast --no-sync \
                    --dbname='host=127.0.0.1 port={} user=segue application_name=standby'"#,
                    primary.port
                ),
            ),
        };
        let program = bin.join(program);
        let supervisor = Supervisor::start(folder, "QUIT", &prepare, &server, &[("PROGRAM", &program)])?;
        Ok(Self { supervisor, bin, port, password })
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        let mut probe = Command::new(self.bin.join("pg_isready"));
        probe.args(["--quiet", "--timeout=5", "--host=127.0.0.1", "--dbname=postgres", "--username=segue"]);
        probe.arg(format!("--port={}", self.port)).env("LD_LIBRARY_PATH", programs::libraries());
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        loop {
            if !self.supervisor.is_running() {
                bail!("PostgreSQL ended at its start:\n{}", self.supervisor.log());
            }
            if probe.status()?.success() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("PostgreSQL is not ready after {PATIENCE:?}:\n{}", self.supervisor.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `postgres://…` of the superuser, to the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://segue:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the superuser `segue`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The process that all others of the server come from.
    pub fn pid(&self) -> u32 {
        self.supervisor.server()
    }

    /// Ends the server as a crash would (`immediate`): what is committed is there after [`restart`](Self::restart).
    pub fn stop_immediate(&mut self) -> Result<()> {
        self.supervisor.order("end QUIT")
    }

    /// Ends the server in good order (`fast`): open transactions are rolled back.
    pub fn stop(&mut self) -> Result<()> {
        self.supervisor.order("end INT")
    }

    /// Starts the server again on the same data and port, ending it first where it runs, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        if self.supervisor.is_running() {
            self.stop()?;
        }
        self.supervisor.order("begin")?;
        self.wait_ready()
    }

    /// Sends a signal to [`pid`](Self::pid): `"STOP"`, `"CONT"`, `"HUP"`.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        self.supervisor.order(&format!("signal {signal}"))
    }

    /// The last lines of the server's log.
    pub fn log(&self) -> String {
        self.supervisor.log()
    }
}
