//! Copies of a file that is written to meanwhile.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use segue_core::{
    event::EventKind,
    ids::{EngineId, TaskId},
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{Cached, ClaimRequest, RunStore, StoreError, StoreUpkeep},
    time::Timestamp,
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::{
    conformance::{
        block_on,
        run_store::{Live, engine},
    },
    sim,
};
use serde_json::json;

use crate::place::{Place, upkeep, verify};

/// Copies are made while a run is written; each is of one moment, whole, and goes on where it was.
#[test]
fn a_copy_of_a_busy_store_is_whole_and_goes_on() {
    let place = Place::new();
    let path = place.copy();
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
    let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (store, stop, commits) = (store.clone(), stop.clone(), commits.clone());
        thread::spawn(move || {
            block_on(async {
                let me = engine(&store, "writer", Duration::from_secs(3_600)).await;
                for seed in 1_000.. {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    sim::keep(&*store, seed, &me, usize::MAX).await;
                    commits.fetch_add(1, Ordering::AcqRel);
                }
            });
        })
    };
    let upkeep = upkeep(&path);
    for n in 0..4 {
        let before = commits.load(Ordering::Acquire);
        while commits.load(Ordering::Acquire) < before + 3 {
            thread::yield_now();
        }
        let to = place.file(&format!("copy-{n}.db"));
        let copied = block_on(upkeep.backup(&to)).unwrap();
        let file = fs::metadata(&to).unwrap();
        assert_eq!((file.len(), file.permissions().mode() & 0o777), (copied.bytes, 0o600));
        let report = verify(&to).unwrap();
        assert!(report.findings.is_clean() && report.runs > before, "copy {n}: {report:#?}");
    }
    stop.store(true, Ordering::Release);
    writer.join().unwrap();
    drop(store);
    let left: Vec<_> = fs::read_dir(place.file("")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
    goes_on(&place.file("copy-3.db"), &place);
}

/// Another engine takes the plain run of the copy over, and commits to it.
fn goes_on(path: &std::path::Path, place: &Place) {
    block_on(async {
        let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(path, SqliteOptions::default()).unwrap());
        let heir = engine(&store, "heir", Duration::from_secs(3_600)).await;
        let request = ClaimRequest {
            engine_id: heir,
            limit: 1,
            runs: vec![place.plain],
            dead: vec![EngineId::new("engine"), EngineId::new("writer")],
        };
        let lease = store.claim(request).await.unwrap().pop().unwrap();
        let row = store.get_run(place.plain).await.unwrap();
        let tasks = store.list_tasks(place.plain).await.unwrap();
        let events = store.events(place.plain, 0, 0).await.unwrap();
        let mut live = Live { lease, row, events, tasks };
        live.commit(&store, vec![(Some("b"), EventKind::TaskCancelled { usage: Default::default() })]).await;
        assert_eq!(store.get_run(place.plain).await.unwrap().version, live.row.version);
    });
}

#[test]
fn a_copy_replaces_nothing() {
    let place = Place::new();
    let upkeep = upkeep(&place.whole());
    let to = place.file("notes.txt");
    fs::write(&to, "mine").unwrap();
    let refused = block_on(upkeep.backup(&to)).unwrap_err();
    assert!(matches!(&refused, StoreError::Refused(why) if why.contains("is there already")), "{refused}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
    let nowhere = block_on(upkeep.backup(&place.file("none/copy.db"))).unwrap_err();
    assert!(matches!(&nowhere, StoreError::Refused(why) if why.contains("cannot be written")), "{nowhere}");
    std::os::unix::fs::symlink("nowhere", place.file("link")).unwrap();
    assert!(block_on(upkeep.backup(&place.file("link"))).is_err(), "a link that leads nowhere is there too");
}

/// The pages of what was deleted are not copied, whatever they still hold.
#[test]
fn a_copy_has_no_free_pages() {
    let place = Place::new();
    let path = place.copy();
    block_on(async {
        let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        let (stored_at, expires_at) = (Timestamp::from_micros(1), Some(Timestamp::from_micros(2)));
        let output = Payload::new(json!("z".repeat(10 * INLINE_BYTES_MAX)));
        let entry = Cached { output, run_id: place.plain, task_id: TaskId::new("a"), stored_at };
        store.cache_put("of no more use", entry, expires_at).await.unwrap();
        assert_eq!(store.collect_garbage(stored_at).await.unwrap().blobs, 1);
    });
    let to = place.file("clean.db");
    let copied = block_on(upkeep(&path).backup(&to)).unwrap();
    assert!(block_on(upkeep(&path).status()).unwrap().free_bytes > Some(0));
    assert_eq!(fs::metadata(&to).unwrap().len(), copied.bytes);
    assert_eq!(block_on(crate::place::upkeep(&to).status()).unwrap().free_bytes, Some(0));
    assert!(verify(&to).unwrap().findings.is_clean());
}
