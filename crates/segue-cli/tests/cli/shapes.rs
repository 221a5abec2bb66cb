//! Graphs of the shapes that real workflows have, through the whole program: every task once, in order, within
//! `max_parallel_nodes`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Place;
use serde_json::{Value, json};

const PARALLEL: usize = 16;

fn node(id: &str, depends_on: &[String]) -> Value {
    json!({ "id": id, "task": "pass", "depends_on": depends_on })
}

/// An astronomical mosaic: projections, differences of neighbours, one fit over all of them (1,100 at once), corrections,
/// and a chain to the picture. 2,200 tasks.
fn mosaic() -> Vec<Value> {
    let (images, pairs) = (547, 1_100);
    let mut nodes: Vec<Value> = (0..images).map(|n| node(&format!("project.{n}"), &[])).collect();
    let differences: Vec<String> = (0..pairs).map(|n| format!("difference-{n}")).collect();
    for (n, id) in differences.iter().enumerate() {
        let neighbours = [n % images, (n + 1 + n / images) % images].map(|image| format!("project.{image}"));
        nodes.push(node(id, &neighbours));
    }
    nodes.push(node("concat.fit", &differences));
    nodes.push(node("background.model", &["concat.fit".to_owned()]));
    let corrected: Vec<String> = (0..images).map(|n| format!("background-{n}")).collect();
    for (n, id) in corrected.iter().enumerate() {
        nodes.push(node(id, &["background.model".to_owned(), format!("project.{n}")]));
    }
    nodes.push(node("table", &corrected));
    for (from, to) in [("table", "add"), ("add", "shrink"), ("shrink", "picture")] {
        nodes.push(node(to, &[from.to_owned()]));
    }
    nodes
}

/// Genome sequencing: lanes of many chains side by side, merged in two steps; ids of the full 128 characters.
fn genome() -> Vec<Value> {
    let (lanes, chunks) = (4, 100);
    let long = |step: &str, lane: usize, chunk: usize| format!("{step}.lane-{lane}.chunk-{chunk}.{}", "x".repeat(128));
    let id = |step: &str, lane: usize, chunk: usize| long(step, lane, chunk)[..128].to_owned();
    let mut nodes = Vec::new();
    for lane in 0..lanes {
        nodes.push(node(&format!("split-{lane}"), &[]));
        for chunk in 0..chunks {
            let mut before = format!("split-{lane}");
            for step in ["filter", "sanger", "binary", "map"] {
                let id = id(step, lane, chunk);
                nodes.push(node(&id, &[before]));
                before = id;
            }
        }
        let maps: Vec<String> = (0..chunks).map(|chunk| id("map", lane, chunk)).collect();
        nodes.push(node(&format!("merge.{lane}"), &maps));
    }
    let merges: Vec<String> = (0..lanes).map(|lane| format!("merge.{lane}")).collect();
    nodes.push(node("index", &merges));
    nodes.push(node("pileup", &["index".to_owned()]));
    nodes
}

fn runs_once_in_order(nodes: Vec<Value>) {
    let place = Place::new();
    let document = json!({ "id": "shape", "max_parallel_nodes": PARALLEL, "nodes": nodes });
    place.write("shape.json", &document.to_string());
    let ran = place.segue(&["run", "shape.json", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);

    let needs: BTreeMap<&str, &Vec<Value>> =
        nodes.iter().map(|node| (node["id"].as_str().unwrap(), node["depends_on"].as_array().unwrap())).collect();
    let (mut running, mut most, mut ended) = (BTreeSet::new(), 0, BTreeSet::new());
    for event in place.events("@last") {
        let task = event["task_id"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap() {
            "task.started" => {
                let missing = needs[&*task].iter().find(|need| !ended.contains(need.as_str().unwrap()));
                assert_eq!(missing, None, "{task} began too early");
                assert!(!ended.contains(&task) && running.insert(task), "a task ran twice");
                most = most.max(running.len());
            }
            "task.succeeded" => {
                assert!(running.remove(&task) && ended.insert(task));
            }
            other => assert!(other.starts_with("run."), "{event}"),
        }
    }
    assert_eq!(ended.len(), nodes.len(), "every task ran");
    assert_eq!(most, PARALLEL, "as many at once as allowed, and no more");
}

#[test]
fn a_mosaic_of_2200_tasks_with_a_fan_in_of_1100() {
    let nodes = mosaic();
    assert_eq!(nodes.len(), 2_200);
    runs_once_in_order(nodes);
}

#[test]
fn lanes_of_chains_whose_ids_have_128_characters() {
    runs_once_in_order(genome());
}
