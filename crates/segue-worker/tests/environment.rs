//! Managed environments, made from a lock with one tiny package that needs no network.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use segue_worker::environment::{BuildProgress, EnvironmentError, Environments, Framework, Origin, Wanted};

/// Writes a wheel of the distribution `tiny` 1.2.3 and prints its SHA-256.
const WHEEL: &str = "
import hashlib, sys, zipfile
name = sys.argv[1] + '/tiny-1.2.3-py3-none-any.whl'
with zipfile.ZipFile(name, 'w') as wheel:
    wheel.writestr('tiny/__init__.py', 'VALUE = 42\\n')
    wheel.writestr('tiny-1.2.3.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.2.3\\n')
    wheel.writestr('tiny-1.2.3.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('tiny-1.2.3.dist-info/RECORD', '')
print(hashlib.sha256(open(name, 'rb').read()).hexdigest())
";

fn framework(folder: &Path, hash: Option<&str>) -> Framework {
    let said = Command::new("python3").args(["-c", WHEEL]).arg(folder).output().unwrap();
    let actual = String::from_utf8(said.stdout).unwrap();
    let wheel = folder.join("tiny-1.2.3-py3-none-any.whl");
    let lock = format!("tiny @ file://{} --hash=sha256:{}\n", wheel.display(), hash.unwrap_or(actual.trim()));
    Framework { name: "tiny", distribution: "tiny", floor: "1.2.0", lock: Box::leak(lock.into_boxed_str()) }
}

fn environments(root: &Path) -> (Environments, Arc<Mutex<Vec<BuildProgress>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    (Environments::new(root, Arc::new(move |progress| sink.lock().unwrap().push(progress))), seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_is_made_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let framework = framework(folder.path(), None);
    let root = folder.path().join(".segue");
    let ((one, seen_by_one), (other, seen_by_other)) = (environments(&root), environments(&root));
    let wanted = Wanted { base_dir: Some(folder.path().to_owned()), ..Wanted::default() };

    let before = one.explain(&framework, &wanted).await;
    assert!(before.is_to_be_made && before.chosen.is_some(), "{before:?}");
    let (a, b, c) = tokio::join!(
        one.resolve(&framework, &wanted),
        one.resolve(&framework, &wanted),
        other.resolve(&framework, &wanted)
    );
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert!(a == b && b == c && a.origin == Origin::Managed, "{a:?} {b:?} {c:?}");
    assert_eq!(before.chosen.unwrap(), a, "what was explained is what came");
    let said = Command::new(&a.python).args(["-I", "-c", "import tiny; print(tiny.VALUE)"]).output().unwrap();
    assert_eq!(said.stdout, b"42\n");

    let seen: Vec<BuildProgress> =
        [seen_by_one, seen_by_other].iter().flat_map(|seen| seen.lock().unwrap().clone()).collect();
    let count = |which: fn(&BuildProgress) -> bool| seen.iter().filter(|progress| which(progress)).count();
    assert_eq!(count(|progress| matches!(progress, BuildProgress::Started { .. })), 1, "made once: {seen:?}");
    assert_eq!(count(|progress| matches!(progress, BuildProgress::Done { .. })), 1);
    assert_eq!(count(|progress| matches!(progress, BuildProgress::Waiting)), 1, "the other waits: {seen:?}");
    let after = one.explain(&framework, &wanted).await;
    assert!(!after.is_to_be_made && after.chosen.unwrap() == a);
}

#[tokio::test]
async fn a_package_that_is_not_the_pinned_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let framework = framework(folder.path(), Some(&"0".repeat(64)));
    let (environments, _) = environments(&folder.path().join(".segue"));
    let error = environments.resolve(&framework, &Wanted::default()).await.unwrap_err();
    let EnvironmentError::Build { step, last_words } = &error else { panic!("{error:?}") };
    assert!(*step == "installing the packages" && last_words.to_lowercase().contains("hash"), "{error}");
    assert!(
        environments.explain(&framework, &Wanted::default()).await.is_to_be_made,
        "what failed is not taken for whole"
    );
}

#[tokio::test]
async fn what_the_user_has_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let framework = Framework { name: "tiny", distribution: "tiny", floor: "1.2.0", lock: "" };
    let (environments, _) = environments(&folder.path().join(".segue"));
    let venv = folder.path().join(".venv");
    fs::create_dir_all(venv.join("bin")).unwrap();
    fs::write(venv.join("bin/python"), "").unwrap();
    let wanted = Wanted { base_dir: Some(folder.path().to_owned()), ..Wanted::default() };

    let packages = venv.join("lib/python3.11/site-packages");
    fs::create_dir_all(packages.join("tiny-1.1.9.dist-info")).unwrap();
    let error = environments.resolve(&framework, &wanted).await.unwrap_err();
    assert!(matches!(&error, EnvironmentError::TooOld { found, .. } if found == "1.1.9"), "{error}");

    fs::rename(packages.join("tiny-1.1.9.dist-info"), packages.join("tiny-1.2.0.dist-info")).unwrap();
    let found = environments.resolve(&framework, &wanted).await.unwrap();
    assert_eq!((found.origin, found.python), (Origin::Project, venv.join("bin/python")));

    let hinted = |hint: &str| Wanted { hint: Some(hint.to_owned()), ..wanted.clone() };
    let found = environments.resolve(&framework, &hinted("python3")).await.unwrap();
    assert_eq!(found.origin, Origin::Hint);
    let error = environments.resolve(&framework, &hinted("nowhere")).await.unwrap_err();
    assert!(error.to_string().contains("`hints.tiny.python` names `nowhere`"), "{error}");
    let explained = environments.explain(&framework, &hinted("nowhere")).await;
    assert!(explained.chosen.is_none() && !explained.reasons.is_empty());
}
