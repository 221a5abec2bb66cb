//! A Redis server.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
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

/// A Redis server that keeps nothing on disk, on a loopback port that stays the same over restarts. Dropped, it is gone.
#[derive(Debug)]
pub struct RedisServer {
    supervisor: Supervisor,
    port: u16,
    password: String,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            let mut server = Self::launch()?;
            match server.wait_ready() {
                Ok(()) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there was a try"))
    }

    fn launch() -> Result<Self> {
        let program = programs::redis()?;
        let folder = Folder::make("redis")?;
        let (port, password) = (free_port()?, format!("{:016x}{:016x}", random(), random()));
        // In a file: a command line is for everybody to read.
        folder.write(
            "redis.conf",
            &format!(
                "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {}\nsave \"\"\nappendonly no\ndaemonize no\n",
                folder.path.display()
            ),
        )?;
        let server = [program.display().to_string(), folder.path.join("redis.conf").display().to_string()];
        let supervisor = Supervisor::start(folder, "KILL", ":", &server, &[])?;
        Ok(Self { supervisor, port, password })
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.answers() {
            if !self.supervisor.is_running() {
                bail!("Redis ended at its start:\n{}", self.supervisor.log());
            }
            if start.elapsed() > PATIENCE {
                bail!("Redis is not ready after {PATIENCE:?}:\n{}", self.supervisor.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<Vec<u8>> {
            let address = SocketAddr::from(([127, 0, 0, 1], self.port));
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 64];
            let length = stream.read(&mut answer)?;
            Ok(answer[..length].to_vec())
        };
        ask().is_ok_and(|answer| answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH"))
    }

    /// `redis://…`, with the password.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/", self.password, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password that clients need.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.supervisor.server()
    }

    /// Ends the server at once (SIGKILL): all it held is lost.
    pub fn stop(&mut self) -> Result<()> {
        self.supervisor.order("end KILL")
    }

    /// Starts an empty server on the same port, ending the one that runs, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        if self.supervisor.is_running() {
            self.stop()?;
        }
        self.supervisor.order("begin")?;
        self.wait_ready()
    }

    /// Sends a signal to the server: `"STOP"` makes it stall with its connections open, `"CONT"` ends that.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        self.supervisor.order(&format!("signal {signal}"))
    }
}
