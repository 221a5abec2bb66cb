//! Where a server lives: a folder, a port, a password and the user it runs as.

use std::{
    env, fs,
    hash::{BuildHasher, Hasher, RandomState},
    net::TcpListener,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Ports are taken from here. Below the range from which systems give ports to clients: no client can be sitting on
/// the port when a server comes back to it.
const PORTS: std::ops::Range<u64> = 15_000..30_000;

/// Whom a server runs as, when we ourselves are root: PostgreSQL refuses to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unprivileged {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Unprivileged {
    /// `nobody` for root, `None` for everybody else: they stay who they are.
    pub(crate) fn find() -> Result<Option<Self>> {
        if fs::metadata("/proc/self").context("cannot read /proc/self")?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let line = users.lines().find(|line| line.starts_with("nobody:")).context("there is no user `nobody`")?;
        let ids = line.split(':').skip(2).take(2).map(str::parse).collect::<Result<Vec<u32>, _>>();
        match ids.as_deref() {
            Ok([uid, gid]) => Ok(Some(Self { uid: *uid, gid: *gid })),
            _ => bail!("cannot read the line of `nobody` in /etc/passwd"),
        }
    }
}

/// A folder that only the server's user may read. The supervisor removes it with the server.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) owner: Option<Unprivileged>,
}

impl Folder {
    pub(crate) fn make(kind: &str) -> Result<Self> {
        let owner = Unprivileged::find()?;
        // Root's own temporary folder may be closed to others.
        let parent = if owner.is_some() { PathBuf::from("/tmp") } else { env::temp_dir() };
        let path = parent.join(format!("segue-{kind}-{:016x}", random()));
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let folder = Self { path, owner };
        folder.hand_over(&folder.path)?;
        Ok(folder)
    }

    /// A file in it that only the server's user may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        written
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.hand_over(&path)
    }

    fn hand_over(&self, path: &Path) -> Result<()> {
        let Some(Unprivileged { uid, gid }) = self.owner else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot give {} away", path.display()))
    }
}

/// A port of the loopback interface that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    let span = PORTS.end - PORTS.start;
    let mut tries = (0..200).map(|_| PORTS.start + random() % span);
    tries
        .find_map(|port| {
            let port = u16::try_from(port).expect("ports of the range fit");
            TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
        })
        .context("no free port was found")
}

/// Unlike any other, also in another process. The hasher's keys come from the system's random numbers.
pub(crate) fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let numbers = (0..100).map(|_| random()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(numbers.len(), 100);
    }
}
