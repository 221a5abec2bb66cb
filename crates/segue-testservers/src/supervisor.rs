//! A shell that starts a server, carries out orders about it, and ends it when the pipe of orders ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    place::{Folder, Unprivileged},
    programs,
};

/// `$1` is the signal that ends the server well, `$2` a command line to run once before, the rest is the server. Answers
/// each order with a line. `read` fails when the starter is gone.
const SCRIPT: &str = r#"
ending=$1 prepare=$2
shift 2
begin() { "$@" </dev/null >>log 2>&1 & server=$!; }
end() { kill -s CONT "$server"; kill -s "$1" "$server"; wait "$server"; } 2>/dev/null
if ! eval "$prepare" </dev/null >>log 2>&1; then
    echo failed
    read -r order
else
    begin "$@"
    echo "$server"
    while read -r order signal; do
        case $order in
            begin) begin "$@" ;;
            end) end "$signal" ;;
            signal) kill -s "$signal" "$server" 2>/dev/null ;;
        esac
        echo "$server"
    done
    end "$ending"
fi
cd / && rm -rf "$FOLDER"
"#;

/// A server and its shell.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shell: Child,
    /// Open as long as the server is to live. Closed on `exec`: no child of ours holds it too.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: Folder,
    server: u32,
}

impl Supervisor {
    /// Starts the server in `folder`. `server` is its command line, `variables` what `prepare` needs of names.
    pub(crate) fn start(
        folder: Folder,
        ending: &str,
        prepare: &str,
        server: &[String],
        variables: &[(&str, &Path)],
    ) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "segue-server", ending, prepare]).args(server);
        // A group of its own: what ends the starter's group is not to end the watch before the server.
        command.current_dir(&folder.path).process_group(0);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.env("FOLDER", &folder.path).env("LD_LIBRARY_PATH", programs::libraries());
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(Unprivileged { uid, gid }) = folder.owner {
            command.uid(uid).gid(gid);
        }
        let mut shell = command.spawn().context("cannot start /bin/sh")?;
        let orders = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("it is piped"));
        let mut supervisor = Self { shell, orders, answers, folder, server: 0 };
        supervisor.answer()?;
        Ok(supervisor)
    }

    /// Gives an order and waits until it is carried out: `begin`, `end SIGNAL` (waits for the end), `signal SIGNAL`.
    pub(crate) fn order(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().expect("open while this lives");
        writeln!(orders, "{order}").context("the server's supervisor is gone")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the server's supervisor does not answer")?;
        match line.trim().parse() {
            Ok(server) => self.server = server,
            Err(_) => bail!("the server cannot be prepared:\n{}", self.log()),
        }
        Ok(())
    }

    /// The server's process.
    pub(crate) fn server(&self) -> u32 {
        self.server
    }

    /// False when the server ended by itself or by an order. A process that nobody has waited for yet has ended.
    pub(crate) fn is_running(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.server));
        state.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
    }

    /// The last lines that the server wrote.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.folder.path.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        // What went wrong in the shell is no reason to fail whoever used the server.
        let _ = self.shell.wait();
    }
}
