//! The socket on which zygotes and attempts report, and who is expected there.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::wire::{Incoming, Outgoing, parse, read_line};
use crate::protocol::{LINE_BYTES_MAX, Opening};

/// Connections that have not said who they are at once.
const STRANGERS_MAX: usize = 256;
/// A Unix socket's path holds no more on Linux, its final zero included.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A connection whose other side has shown the right token.
pub(super) struct Connection {
    pub(super) opening: Opening,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
}

type Expected = Arc<Mutex<HashMap<String, oneshot::Sender<Connection>>>>;

/// A folder of mode 0700 with the socket in it, for as long as this lives.
pub(super) struct Door {
    folder: TempDir,
    expected: Expected,
    _listening: AbortOnDropHandle<()>,
}

impl Door {
    /// Makes the folder and listens. Within a runtime. A stranger has `opening_max` to say who it is: a zygote connects
    /// before it imports its framework, and speaks after.
    pub(super) fn open(opening_max: Duration) -> io::Result<Self> {
        let folder = runtime_folder()?;
        let listener = UnixListener::bind(folder.path().join("socket"))?;
        let expected = Expected::default();
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(listener, expected.clone(), opening_max)));
        Ok(Self { folder, expected, _listening: listening })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Expects a connection with `token`, once.
    pub(super) fn expect(&self, token: String) -> Expectation {
        let (sender, receiver) = oneshot::channel();
        lock(&self.expected).insert(token.clone(), sender);
        Expectation { token, receiver, expected: self.expected.clone() }
    }
}

/// A connection that is expected. No longer, when this is dropped.
pub(super) struct Expectation {
    token: String,
    /// Gives the connection.
    pub(super) receiver: oneshot::Receiver<Connection>,
    expected: Expected,
}

impl Expectation {
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        lock(&self.expected).remove(&self.token);
    }
}

fn lock(expected: &Expected) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Connection>>> {
    expected.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In the folder for temporary files, or in `/tmp` where that one's path is too long for a socket.
fn runtime_folder() -> io::Result<TempDir> {
    let private = fs::Permissions::from_mode(0o700);
    let make =
        |parent: &Path| tempfile::Builder::new().prefix("segue-").permissions(private.clone()).tempdir_in(parent);
    let folder = make(&std::env::temp_dir())?;
    if folder.path().join("socket").as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok(folder);
    }
    make(Path::new("/tmp"))
}

async fn listen(listener: UnixListener, expected: Expected, opening_max: Duration) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let permit = strangers.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let expected = expected.clone();
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(opening_max, admit(stream, &expected)).await {
                Ok(Some(())) => {}
                _ => tracing::debug!("a connection to the workers' socket that nobody expected was closed"),
            }
        });
    }
}

/// Reads who it is and hands the connection over to whoever expects it.
async fn admit(stream: UnixStream, expected: &Expected) -> Option<()> {
    let peer = stream.peer_cred().ok()?;
    if peer.uid() != nix::unistd::geteuid().as_raw() {
        return None;
    }
    let (read, write) = stream.into_split();
    let mut lines = BufReader::new(read);
    let line = read_line(&mut lines, LINE_BYTES_MAX).await.ok()??;
    let opening: Opening = parse(&line).ok()?;
    let waiting = lock(expected).remove(opening.token())?;
    let connection = Connection { opening, incoming: Incoming::resume(lines), outgoing: Outgoing::new(write) };
    waiting.send(connection).ok()
}

/// 256 random bits as text: a token, a name.
pub(super) fn random_token() -> io::Result<String> {
    use std::fmt::Write;
    let mut bytes = [0_u8; 32];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    }))
}
