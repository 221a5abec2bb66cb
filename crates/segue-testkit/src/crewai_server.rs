//! A server of CrewAI's hosted interface, with scripted crews and the ways in which a real one surprises.
//!
//! What an execution does is said by its input `behave`: `ends` (the default), `fails`, `endless` (until it is stopped), `asks`
//! (for human input; approved it ends, else it asks again). Both shapes of a status are spoken: the documented one, and that
//! of the task queue behind it, which the vendor's own client reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::web::{Answer, Call, WebServer};

/// How a status is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{status: "completed", result: {output, tasks}}`.
    Documented,
    /// `{state: "SUCCESS", result: "…", result_json}`.
    Celery,
}

/// A running server.
pub struct CrewaiServer {
    web: WebServer,
    world: Arc<Mutex<World>>,
}

struct World {
    shape: Shape,
    token: String,
    executions: BTreeMap<String, Execution>,
    made: u32,
    lost_kickoffs: usize,
    lost_resumes: usize,
    /// Statuses with which the next kickoffs are refused.
    refusals: Vec<u16>,
    troubles: usize,
    ends_at_stop: bool,
}

/// One execution.
#[derive(Debug, Clone)]
pub struct Execution {
    /// What was sent with its kickoff.
    pub request: Value,
    /// `running`, `completed`, `error`, `stopped` or `human`.
    pub state: &'static str,
    /// What people have said to it.
    pub feedback: Vec<Value>,
    polls: u32,
}

impl CrewaiServer {
    /// Listens on a free port of 127.0.0.1; takes this bearer token.
    pub fn start(shape: Shape, token: &str) -> Self {
        let world = Arc::new(Mutex::new(World {
            shape,
            token: token.to_owned(),
            executions: BTreeMap::new(),
            made: 0,
            lost_kickoffs: 0,
            lost_resumes: 0,
            refusals: Vec::new(),
            troubles: 0,
            ends_at_stop: false,
        }));
        let for_calls = world.clone();
        let web = WebServer::start(move |call| {
            let answer = lock(&for_calls).answer(&call);
            async move { answer }
        });
        Self { web, world }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.web.url("")
    }

    /// The server as it is seen from the wire.
    pub const fn web(&self) -> &WebServer {
        &self.web
    }

    /// All executions by their ids.
    pub fn executions(&self) -> BTreeMap<String, Execution> {
        lock(&self.world).executions.clone()
    }

    /// Executions that have not ended.
    pub fn running(&self) -> usize {
        lock(&self.world).executions.values().filter(|it| matches!(it.state, "running" | "human")).count()
    }

    /// The next so many kickoffs begin, and their answers are lost.
    pub fn lose_kickoffs(&self, count: usize) {
        lock(&self.world).lost_kickoffs = count;
    }

    /// The next so many resumes are done, and their answers are lost.
    pub fn lose_resumes(&self, count: usize) {
        lock(&self.world).lost_resumes = count;
    }

    /// The next kickoffs are refused with these statuses, and begin nothing.
    pub fn refuse_kickoffs(&self, statuses: &[u16]) {
        lock(&self.world).refusals = statuses.iter().rev().copied().collect();
    }

    /// The next so many questions for a status are answered with 502.
    pub fn trouble(&self, count: usize) {
        lock(&self.world).troubles = count;
    }

    /// An execution ends by itself in the moment in which it is to be stopped.
    pub fn end_at_stop(&self) {
        lock(&self.world).ends_at_stop = true;
    }

    /// Lets everything that runs end well.
    pub fn finish(&self) {
        for execution in lock(&self.world).executions.values_mut().filter(|it| it.state == "running") {
            execution.state = "completed";
        }
    }

    /// Forgets all executions, as the hosted service does after a while.
    pub fn expire(&self) {
        lock(&self.world).executions.clear();
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn answer(&mut self, call: &Call) -> Answer {
        if call.path == "/" {
            return Answer::text(200, "Healthy");
        }
        if call.header("authorization") != format!("Bearer {}", self.token) {
            return Answer::json(401, &json!({ "error": "Unauthorized", "message": "Invalid token" }));
        }
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["inputs"]) => Answer::json(200, &json!({ "inputs": ["topic"] })),
            ("POST", ["kickoff"]) => self.kickoff(&call.body),
            ("GET", ["status", id]) => self.status(id),
            ("POST", ["stop", id]) => self.stop(id),
            ("POST", ["resume"]) => self.resume(&call.body),
            _ => Answer::json(404, &json!({ "error": "Not found" })),
        }
    }

    fn kickoff(&mut self, body: &Value) -> Answer {
        if let Some(status) = self.refusals.pop() {
            return Answer::json(status, &json!({ "error": "refused", "message": "as you wished" }));
        }
        let inputs = body["inputs"].as_object();
        if inputs.is_none_or(|inputs| !inputs.contains_key("topic")) {
            let details = json!({ "missing_inputs": ["topic"] });
            let body = json!({ "error": "Validation Error", "message": "Missing required inputs", "details": details });
            return Answer::json(422, &body);
        }
        self.made += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.made);
        let made = Execution { request: body.clone(), state: "running", feedback: Vec::new(), polls: 0 };
        self.executions.insert(id.clone(), made);
        if self.lost_kickoffs > 0 {
            self.lost_kickoffs -= 1;
            return Answer::hang_up();
        }
        Answer::json(200, &json!({ "kickoff_id": id }))
    }

    /// The first question finds it running; then it does what it was told.
    fn status(&mut self, id: &str) -> Answer {
        if self.troubles > 0 {
            self.troubles -= 1;
            return Answer::text(502, "Bad Gateway");
        }
        let Some(execution) = self.executions.get_mut(id) else { return unknown() };
        execution.polls += 1;
        if execution.polls > 1 && execution.state == "running" {
            execution.state = match execution.request["inputs"]["behave"].as_str() {
                Some("fails") => "error",
                Some("endless") => "running",
                Some("asks") if execution.feedback.last().is_none_or(|last| last["is_approve"] != true) => "human",
                _ => "completed",
            };
        }
        Answer::json(200, &execution.shown(self.shape))
    }

    fn stop(&mut self, id: &str) -> Answer {
        let Some(execution) = self.executions.get_mut(id) else { return unknown() };
        if self.ends_at_stop && execution.state == "running" {
            execution.state = "completed";
        }
        if !matches!(execution.state, "running" | "human") {
            return Answer::json(400, &json!({ "detail": "Cannot stop execution. Current state: SUCCESS" }));
        }
        execution.state = "stopped";
        Answer::json(200, &json!({ "status": "stopped", "kickoffId": id }))
    }

    fn resume(&mut self, body: &Value) -> Answer {
        let id = body["execution_id"].as_str().unwrap_or_default();
        let Some(execution) = self.executions.get_mut(id) else { return unknown() };
        if ["task_id", "human_feedback", "is_approve"].iter().any(|name| body.get(name).is_none_or(Value::is_null)) {
            return Answer::json(422, &json!({ "error": "Validation Error", "message": "a field is missing" }));
        }
        if execution.state != "human" {
            return Answer::json(
                400,
                &json!({ "error": "Bad Request", "message": "Execution is not in pending human input state" }),
            );
        }
        execution.feedback.push(body.clone());
        (execution.state, execution.polls) = ("running", 0);
        if self.lost_resumes > 0 {
            self.lost_resumes -= 1;
            return Answer::hang_up();
        }
        let status = if body["is_approve"] == true { "resumed" } else { "retrying" };
        Answer::json(200, &json!({ "status": status, "message": "on it" }))
    }
}

fn unknown() -> Answer {
    Answer::json(404, &json!({ "error": "Execution not found", "message": "no execution has this id" }))
}

impl Execution {
    fn shown(&self, shape: Shape) -> Value {
        let said = json!({ "text": "about it" });
        let usage =
            json!({ "total_tokens": 15, "prompt_tokens": 10, "completion_tokens": 5, "successful_requests": 1 });
        match (shape, self.state) {
            (Shape::Documented, "running") => json!({
                "status": "running", "current_task": "ready", "progress": { "completed_tasks": 0, "total_tasks": 1 },
            }),
            (Shape::Documented, "completed") => json!({
                "status": "completed", "execution_time": 1.5, "token_usage": usage,
                "result": { "output": "about it", "tasks": [
                    { "task_id": "write", "output": "about it", "agent": "Writer", "execution_time": 1.5 },
                ] },
            }),
            (Shape::Documented, "error") => {
                json!({ "status": "error", "error": "the crew failed: kaboom", "execution_time": 1 })
            }
            (Shape::Documented, "human") => json!({
                "status": "Pending Human Input", "task_id": "write", "task_output": "a draft",
            }),
            (Shape::Documented, _) => json!({ "status": "stopped" }),
            (Shape::Celery, "running") => json!({ "state": "STARTED", "current_task": { "id": "ready" } }),
            (Shape::Celery, "completed") => {
                json!({ "state": "SUCCESS", "result": said.to_string(), "result_json": said })
            }
            (Shape::Celery, "error") => json!({ "state": "FAILURE", "result": "the crew failed: kaboom" }),
            (Shape::Celery, "human") => json!({ "state": "PENDING_HUMAN_INPUT", "current_task": { "id": "write" } }),
            (Shape::Celery, _) => json!({ "state": "REVOKED" }),
        }
    }
}
