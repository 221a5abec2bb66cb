//! What the summary rows say beyond the log's statuses.

use super::*;

#[test]
fn the_row_of_a_waiting_task_names_its_question() {
    let mut world = World::new(json!([
        { "id": "ask", "approval": { "title": "?" } },
        { "id": "work" },
    ]));
    let row = |world: &World| world.run.all_task_rows().into_iter().find(|row| row.task_id.as_str() == "ask");
    let seq = row(&world).and_then(|row| row.result_seq).expect("it waits");
    let event = &world.log[usize::try_from(seq - 1).expect("small")];
    assert!(matches!(event.kind, EventKind::TaskWaiting(_)), "{event:?}");
    let data = json!({ "decision": "approve" });
    world.input(Input::Signal { to: Address::Task("ask".into()), data, request: None }).expect("an answer");
    let answered = row(&world).and_then(|row| row.result_seq).expect("it has ended");
    assert!(answered > seq);
}

#[test]
fn the_runs_row_has_its_labels_and_its_parent() {
    let document = json!({ "id": "w", "nodes": [{ "id": "a" }], "metadata": {
        "owner": "me", "labels": { "team": "red", "n": 3, "on": true, "none": null, "list": ["x"] } } });
    let spec: WorkflowSpec = serde_json::from_value(document).expect("a workflow");
    let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a plan"));
    let mut created = RunCreated::new(plan.hash(), Payload::new(json!({})));
    let above = RunId::from_bytes([9; 16]);
    created.parent = Some(crate::event::ParentLink { run_id: above, task_id: "t".into(), depth: 1 });
    let (run, _) = Run::create(plan, RunId::from_bytes([7; 16]), created, Timestamp::from_micros(1));
    let row = run.run_row();
    assert_eq!(row.parent, Some(above));
    let labels: Vec<(&str, &str)> = row.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("n", "3"), ("on", "true"), ("team", "red")]);
}
