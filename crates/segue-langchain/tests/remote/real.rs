//! Against `langgraph dev`, started here.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::Adapter,
};
use segue_langchain::LanggraphRemote;
use segue_testkit::conformance::adapter::Case;
use serde_json::{Value, json};

use crate::{ONE_CALL, answered, attempt, case_at, error, output, question};

const GRAPHS: &str = r#"
import asyncio
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    text: str
    answers: list[str]


async def say(state):
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_token_details": {"cache_read": 2}}
    return {"messages": [AIMessage(content="heard " + state["text"], usage_metadata=usage)]}


async def fail(state):
    raise ValueError("kaboom")


async def ready(state):
    await asyncio.sleep(600)


async def ask(state):
    return {"answers": [interrupt({"question": "go on?"})]}


async def ask_again(state):
    return {"answers": [*state["answers"], interrupt("sure?")]}


def chain(*nodes):
    graph, last = StateGraph(State), START
    for node in nodes:
        graph.add_node(node.__name__, node)
        graph.add_edge(last, node.__name__)
        last = node.__name__
    graph.add_edge(last, END)
    return graph.compile()


says, fails, endless, asks = chain(say), chain(say, fail), chain(ready), chain(say, ask, ask_again)
"#;

/// How long the server may take to come up, on a loaded machine too.
const STARTS_IN: Duration = Duration::from_secs(180);

/// The interpreter of an environment with `langgraph-cli[inmem]`.
fn python() -> PathBuf {
    let made = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python-langchain/bin/python");
    let python = std::env::var_os("SEGUE_TEST_LANGGRAPH").map_or_else(made, PathBuf::from);
    assert!(
        python.exists(),
        "{} is not there: `cargo xtask test --only python-env` makes it, and SEGUE_TEST_LANGGRAPH may name another \
         interpreter with what is in python/requirements/langchain-dev.lock",
        python.display()
    );
    python
}

struct DevServer {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl DevServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("graphs.py"), GRAPHS).unwrap();
        let graphs =
            ["says", "fails", "endless", "asks"].map(|name| (name.to_owned(), json!(format!("./graphs.py:{name}"))));
        let config = json!({ "dependencies": ["."], "graphs": Value::Object(graphs.into_iter().collect()) });
        fs::write(folder.path().join("langgraph.json"), config.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(python())
            .args(["-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", &port.to_string()])
            .current_dir(folder.path())
            .env("LANGSMITH_TRACING", "false")
            .env("LANGGRAPH_CLI_NO_ANALYTICS", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn wait(&mut self) {
        let end = Instant::now() + STARTS_IN;
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let is_over = self.child.try_wait().unwrap().is_some() || Instant::now() > end;
            assert!(!is_over, "it does not come up: {}", fs::read_to_string(self.folder.path().join("log")).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn case(&self, graph: &str) -> Case {
        let mut case = case_at(&self.url(), graph, json!({ "text": "hello" }));
        case.hints["http"]["read_timeout_seconds"] = json!(60);
        case.grace = Duration::from_secs(30);
        case
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One attempt of a task of this name.
async fn execute(case: &Case, task: &str, number: u32, resume: Option<segue_core::question::Resume>) -> TaskOutcome {
    let mut invocation = attempt(case, number, 1, resume);
    invocation.context.effect_key = format!("{}/{task}", invocation.context.run_id);
    LanggraphRemote::default().execute(invocation).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_is_understood() {
    let mut server = DevServer::start();
    server.wait().await;

    let says = server.case("says");
    let (state, usage) = output(execute(&says, "says", 1, None).await);
    assert_eq!((&state["messages"][0]["content"], usage), (&json!("heard hello"), ONE_CALL));
    // Its engine died before that was written down: the result is taken, not made again.
    let (again, _) = output(execute(&says, "says", 2, None).await);
    assert_eq!(again["messages"], state["messages"]);

    let (found, usage) = error(execute(&server.case("fails"), "fails", 1, None).await);
    assert_eq!((found.kind, found.message.as_str(), usage), (ErrorKind::User, "ValueError: kaboom", ONE_CALL));

    let asks = server.case("asks");
    let (first, usage) = question(execute(&asks, "asks", 1, None).await);
    assert_eq!((first.prompt.as_str(), first.items.len(), usage), ("go on?", 1, ONE_CALL));
    let yes = json!({ &first.items[0].id: "yes" });
    let (second, _) = question(execute(&asks, "asks", 2, answered(&first, &yes)).await);
    assert_eq!(second.prompt, "sure?");
    let sure = json!({ &second.items[0].id: "sure" });
    let (state, usage) = output(execute(&asks, "asks", 3, answered(&second, &sure)).await);
    assert_eq!((&state["answers"], usage.model_calls), (&json!(["yes", "sure"]), 0));

    let (found, _) = error(execute(&server.case("no-such-graph"), "none", 1, None).await);
    assert_eq!(found.kind, ErrorKind::InvalidInput, "{found}");

    let (invocation, controls) = server.case("endless").invocation("endless", 1);
    let running = tokio::spawn(async move { LanggraphRemote::default().execute(invocation).await });
    controls.progress.wait_for("ready").await;
    controls.cancel.cancel();
    let outcome = running.await.unwrap();
    assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{outcome:?}");
    // Nothing of it runs any more: an attempt that looks for it finds no run to join, and begins one of its own.
    let (invocation, controls) = server.case("endless").invocation("endless", 2);
    let running = tokio::spawn(async move { LanggraphRemote::default().execute(invocation).await });
    controls.progress.wait_for("ready").await;
    server.child.kill().unwrap();
    let (found, _) = error(running.await.unwrap());
    assert_eq!(found.kind, ErrorKind::Connection, "{found}");
}
