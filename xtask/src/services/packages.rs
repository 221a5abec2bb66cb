//! Debian packages that tests need: installed where we may, else unpacked under the target folder.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use segue_testservers::programs;

use crate::house::{House, output_of, run, works};

/// Keeps the packages' own services from being started; Debian's scripts ask it.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Written by `cargo xtask`; to be removed when no installation is under way.\nexit 101\n";

/// Where packages come from and go to.
pub(crate) struct Packages {
    is_root: bool,
    /// The system's files, as packages have them, for those who may not install.
    unpacked: PathBuf,
    /// apt's own files, for those who may not write to the system's.
    apt: PathBuf,
}

impl Packages {
    pub(crate) fn of(house: &House) -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let folder = house.target.join("services");
        programs::use_unpacked(&folder.join("root"));
        Self { is_root, unpacked: folder.join("root"), apt: folder.join("apt") }
    }

    /// May packages be installed, not only unpacked?
    pub(crate) fn may_install(&self) -> bool {
        self.is_root
    }

    /// Makes the packages' programs findable; `[]` does nothing.
    pub(crate) fn install(&self, house: &House, packages: &[&str]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        let names = packages.join(" ");
        println!("missing on this machine: {names}");
        if !works(house.command("apt-get").arg("--version")) {
            bail!("install {names} (the names of Debian's packages); there is no apt-get that could do it here");
        }
        let done = if self.is_root { install(house, packages) } else { self.unpack(house, packages) };
        done.with_context(|| format!("install {names} (Debian, Ubuntu: apt-get install {names})"))
    }

    /// Downloads the packages, and what they need and the machine lacks, and unpacks all.
    fn unpack(&self, house: &House, packages: &[&str]) -> Result<()> {
        println!("not root: they are unpacked into {}", self.unpacked.display());
        let debs = self.apt.join("debs");
        for folder in [&debs, &self.apt.join("lists/partial"), &self.apt.join("cache"), &self.unpacked] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        run(self.apt_get(house).arg("update"))?;
        let mut plan = self.apt_get(house);
        plan.args(["install", "--yes", "--print-uris", "--no-install-recommends"]).args(packages);
        let plan = output_of(&mut plan)?;
        // Lines such as: 'http://…/redis.deb' redis-server_7.0.15-1_amd64.deb 74188 SHA256:…
        let files = plan.lines().filter(|line| line.starts_with('\'')).filter_map(|line| line.split(' ').nth(1));
        let names = files.filter_map(|file| file.split('_').next()).collect::<Vec<_>>();
        if names.is_empty() {
            bail!("apt-get knows nothing to download: {}", plan.trim());
        }
        run(self.apt_get(house).arg("download").args(&names).current_dir(&debs))?;
        for entry in fs::read_dir(&debs)? {
            run(house.command("dpkg-deb").arg("--extract").arg(entry?.path()).arg(&self.unpacked))?;
        }
        fs::remove_dir_all(&debs)?;
        Ok(())
    }

    /// apt-get on lists of our own, without the system's locks.
    fn apt_get(&self, house: &House) -> Command {
        let mut command = house.command("apt-get");
        for (option, value) in [
            ("Debug::NoLocking", Path::new("true")),
            ("Dir::State::Lists", &self.apt.join("lists")),
            ("Dir::Cache", &self.apt.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        command.arg("--quiet");
        command
    }

    /// Lets a program find what was unpacked.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        if !self.unpacked.is_dir() {
            return;
        }
        let bin = self.unpacked.join("usr/bin");
        let path = env::var_os("PATH").unwrap_or_default();
        // After the system's own: what is unpacked only fills gaps.
        let path = env::join_paths(env::split_paths(&path).chain([bin])).unwrap_or(path);
        command.env("PATH", path).env("LD_LIBRARY_PATH", programs::libraries()).env(programs::UNPACKED, &self.unpacked);
        command.env("VALGRIND_LIB", self.unpacked.join("usr/libexec/valgrind"));
    }
}

fn install(house: &House, packages: &[&str]) -> Result<()> {
    run(house.command("apt-get").args(["--quiet", "update"]))?;
    let guard = Guard::set()?;
    let mut install = house.command("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["--quiet", "install", "--yes", "--no-install-recommends"]).args(packages);
    let installed = run(&mut install);
    drop(guard);
    installed
}

/// While it lives, no package starts a service. A machine that has a policy of its own keeps it.
struct Guard {
    is_ours: bool,
}

impl Guard {
    fn set() -> Result<Self> {
        // One of ours was left by a run that was killed.
        let is_ours = fs::read_to_string(POLICY).map_or(true, |text| text == POLICY_TEXT);
        if is_ours {
            fs::write(POLICY, POLICY_TEXT)
                .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot write {POLICY}"))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_ours {
            // Left behind, it is taken for ours by the next run.
            let _ = fs::remove_file(POLICY);
        }
    }
}
