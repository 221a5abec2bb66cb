//! Every rule that a document, or the inputs of a run, can break: one table for messages, `explain` and the handbook.

use super::Severity;

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Its name in diagnostics: stable, in kebab case.
    pub name: &'static str,
    /// How bad it is to break it.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// How it comes about.
    pub cause: &'static str,
    /// What to do about it.
    pub cure: &'static str,
}

/// What breaks a rule, and what does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// A document that breaks it.
    pub wrong: &'static str,
    /// The same document, corrected.
    pub right: &'static str,
}

impl Code {
    /// A document that breaks the rule, and the same document put right.
    pub fn example(&self) -> Option<Example> {
        let heading = format!("\n## {}\n", self.name);
        let section = EXAMPLES.split_once(&*heading)?.1;
        let mut blocks = section.split("```yaml\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
        Some(Example { wrong: blocks.next()?, right: blocks.next()? })
    }

    /// All that there is to say of the rule, in Markdown, under a heading of the first level.
    pub fn page(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        let (name, title, cause, cure) = (self.name, self.title, self.cause, self.cure);
        let mut page = format!("# {name}\n\n{severity}: {title}.\n\n{cause}\n\n*Cure:* {cure}\n");
        if let Some(Example { wrong, right }) = self.example() {
            page += &format!("\nWrong:\n\n```yaml\n{wrong}```\n\nRight:\n\n```yaml\n{right}```\n");
        }
        page
    }
}

/// Two documents a rule, below its name.
const EXAMPLES: &str = include_str!("codes/examples.md");

/// The rule of that name.
pub fn find(name: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.name == name)
}

macro_rules! codes {
    ($($konst:ident = $severity:ident $name:literal, $title:literal, $cause:literal, $cure:literal;)*) => {
        $(
            #[doc = $title]
            pub const $konst: Code =
                Code { name: $name, severity: Severity::$severity, title: $title, cause: $cause, cure: $cure };
        )*

        /// All rules, in the order in which they are looked at.
        pub const ALL: &[&Code] = &[$(&$konst),*];
    };
}

codes! {
    // The text.
    NOT_TEXT = Error "not-text", "The file is not a text",
        "The file is binary, is not UTF-8, or holds control characters such as NUL.",
        "Save it as UTF-8 text.";
    TOO_LARGE = Error "too-large", "The document is too large",
        "The document has more bytes, or more values (aliases counted as often as they are used), than is read.",
        "Put large data into files and name the files in `inputs`; generate fewer nodes.";
    EMPTY_DOCUMENT = Error "empty-document", "The document is empty",
        "The file holds nothing, or comments only.",
        "Write at least `id` and `nodes`.";
    SEVERAL_DOCUMENTS = Error "several-documents", "There is more than one document",
        "A `---` in the file begins a second document; only one is a workflow.",
        "Put each workflow into a file of its own.";
    YAML_SYNTAX = Error "yaml-syntax", "The YAML cannot be read",
        "Indentation, quotes or brackets do not fit together. What comes after the first such place cannot be judged.",
        "Look at the line shown and the one before it: is it indented with spaces, is every quote and bracket closed?";
    JSON_SYNTAX = Error "json-syntax", "The JSON cannot be read",
        "JSON knows no comments, no trailing commas and no single quotes.",
        "Correct the place shown, or write YAML.";
    TOO_DEEP = Error "too-deep", "The document is nested too deeply",
        "Lists and mappings stand inside each other deeper than is read.",
        "Flatten the value, or pass it as a text.";
    YAML_TAG = Error "yaml-tag", "A YAML tag that has no meaning here",
        "Tags such as `!!python/object` or `!include` would need code to read them.",
        "Remove the tag; write the value itself.";
    YAML_ALIAS = Error "yaml-alias", "An alias without its anchor",
        "`*name` needs an `&name` before it, and not around it.",
        "Correct the name, or write the value itself.";
    YAML_MERGE = Error "yaml-merge", "`<<` does not merge",
        "The merge key `<<` belongs to YAML 1.1; documents are read as YAML 1.2, where it is an ordinary key.",
        "Write the fields out, or use `defaults`.";
    BAD_KEY = Error "bad-key", "A key that is not a text",
        "The key of a mapping is a list, a mapping or empty. An unquoted `{{ … }}` looks like that to YAML.",
        "Quote the text: \"{{ params.x }}\".";
    DUPLICATE_KEY = Error "duplicate-key", "A key is given twice",
        "The same key stands twice in one mapping; only one of the values could count.",
        "Remove or rename one of them.";
    BAD_NUMBER = Error "bad-number", "A number that cannot be kept exactly",
        "Infinity, not-a-number and integers of more than 64 bits are not JSON numbers.",
        "Write it in quotes, as a text.";
    // The shape.
    NOT_A_MAPPING = Error "not-a-mapping", "The document is not a mapping",
        "A workflow is a mapping with `id` and `nodes`; this document is a list or a single value.",
        "Begin with `id: my_workflow` and `nodes:`.";
    UNSUPPORTED_VERSION = Error "unsupported-version", "A version of the language that this program does not know",
        "`segue:` names the version of the document's language; this program reads version 1.",
        "Write `segue: 1`, or use a newer program.";
    UNKNOWN_FIELD = Error "unknown-field", "An unknown field",
        "The field is not part of the language; most often it is misspelt or stands one level too high or too low.",
        "Correct it. Your own fields begin with `x-`, or go into `metadata`.";
    NOT_AVAILABLE = Error "not-available", "Part of the language, but not built yet",
        "The field or value is reserved by the language; this version cannot carry it out and will not pretend to.",
        "Leave it out, or use a version that has it.";
    MISSING_FIELD = Error "missing-field", "A field is missing",
        "The field is required here.",
        "Add it.";
    WRONG_TYPE = Error "wrong-type", "A value of the wrong type",
        "The field takes another kind of value, for example a list instead of a single text.",
        "Write it as the message says.";
    UNKNOWN_VALUE = Error "unknown-value", "A value that the field does not know",
        "The field takes one of a few words.",
        "Write one of those.";
    DURATION = Error "duration", "A duration that is not a number",
        "Spans of time are numbers of seconds, without a unit.",
        "Write the number of seconds: `300` for five minutes.";
    SEVERAL_KINDS_OF_WORK = Error "several-kinds-of-work", "A node has more than one kind of work",
        "`task`, `workflow`, `group`, `approval` and `wait` exclude each other.",
        "Make a node of each.";
    // The meaning.
    BAD_ID = Error "bad-id", "An id that is not allowed",
        "Ids have 1 to 128 characters of A-Z a-z 0-9 _ . - and begin with a letter, a digit or `_`.",
        "Rename it; `name` may hold any text.";
    NO_NODES = Error "no-nodes", "There are no nodes",
        "A workflow, a group or `on_failure` without nodes has nothing to run.",
        "Add at least one.";
    DUPLICATE_ID = Error "duplicate-id", "Two nodes have one id",
        "Ids are unique in the whole document: in groups, `on_failure` and `finally` too.",
        "Rename one of them.";
    MISPLACED_FIELD = Error "misplaced-field", "A field that has no meaning here",
        "The field belongs to the language, but does nothing for a node of this kind; left in, it would promise what does not happen.",
        "Move it to where the message says, or remove it.";
    BAD_WAIT = Error "bad-wait", "A wait for nothing, or for several things",
        "`wait` takes exactly one of `seconds`, `until` and `event`.",
        "Keep one; make a node of each to wait for several.";
    BAD_TIME = Error "bad-time", "A time that cannot be read",
        "`wait.until` is a time with its zone, as RFC 3339 writes it, or an expression that gives one.",
        "Write it like `2026-12-24T18:00:00Z`.";
    UNUSED_ON_TIMEOUT = Warning "unused-on-timeout", "A timeout that never comes",
        "`approval.on_timeout` says what it means that nobody answers within the node's `timeout_seconds`, and the node has none.",
        "Add `timeout_seconds` to the node, or remove `on_timeout`.";
    BAD_VERSION = Error "bad-version", "A version that is none",
        "`workflow.version` is the beginning of the hash that names a version: 8 to 64 digits, 0-9 and a-f.",
        "Copy it from `segue workflows list`, or leave it out to take the version that is current.";
    ENDLESS_RECURSION = Warning "endless-recursion", "A workflow that starts itself without end",
        "A node runs the workflow that it is in, and nothing decides whether it does: every run would start the next.",
        "Add a `when` that ends it.";
    BAD_SCHEMA = Error "bad-schema", "An output schema that is no JSON Schema",
        "`output_schema` is a JSON Schema (2020-12). It fetches nothing, its patterns have no lookaround, and its size is bounded.",
        "Correct the place shown.";
    UNKNOWN_DEPENDENCY = Error "unknown-dependency", "A dependency that does not exist",
        "`depends_on` or an edge names a node that the workflow does not have.",
        "Correct the id, or add the node.";
    FOREIGN_DEPENDENCY = Error "foreign-dependency", "A dependency that leaves its list of nodes",
        "Nodes depend on nodes beside them. To others a group is one node; what is inside a group waits with the group; `on_failure` and `finally` begin when the rest has ended.",
        "Depend on the group, or let the group depend on the node.";
    SELF_DEPENDENCY = Error "self-dependency", "A node depends on itself",
        "It could never start.",
        "Remove the dependency.";
    CYCLE = Error "cycle", "Nodes wait for each other in a circle",
        "Following the dependencies leads back to the same node, so none of them could ever start.",
        "Remove one of the dependencies shown.";
    LOOP_NOT_CLOSED = Error "loop-not-closed", "A loop edge that closes no loop",
        "An edge with `max_iterations` leads from the last node of a loop back to its first; here the first does not lead to the last.",
        "Let the dependencies lead from `to` to `from`, or drop `max_iterations`.";
    LOOP_ESCAPE = Error "loop-escape", "A way out of the middle of a loop",
        "A node outside of a loop depends on a node inside that is not its last. It would start after the first round, and what it has read would change behind its back.",
        "Depend on the last node of the loop: the `from` of the loop edge.";
    LOOP_OVERLAP = Error "loop-overlap", "Loops that overlap",
        "Two loops share some nodes, but neither is inside the other; or both end at the same node. Which one goes round is not said.",
        "Make one of them a `group` with `repeat`, or put one inside the other.";
    DUPLICATE_EDGE = Warning "duplicate-edge", "The same dependency twice",
        "The dependency is given more than once; all of them are united.",
        "Keep one.";
    CONFLICTING_EDGES = Error "conflicting-edges", "One dependency with two conditions",
        "Two edges lead from one node to another, and each has a condition of its own; which one holds is not said.",
        "Keep one edge, and join the conditions with `and` or `or`.";
    UNKNOWN_HANDLER = Error "unknown-handler", "A handler that does not exist",
        "`task` names what carries a node out; no adapter here offers this name.",
        "Correct the name.";
    CHILD_NOT_FOUND = Warning "child-not-found", "A child workflow that is not to be found here",
        "`workflow: { id }` names a workflow that is in no file beside this document and is not deployed in the store. Unless it is deployed before a run starts, the start is refused.",
        "Correct the id, put the child's document into the same folder, or deploy it: `segue workflows deploy FILE`.";
    CHILD_NOT_VALID = Error "child-not-valid", "A child workflow that cannot run",
        "The document that holds the child workflow is beside this one, and has errors of its own.",
        "Correct the child's document; `segue validate` shows what is wrong with it.";
    OUT_OF_RANGE = Error "out-of-range", "A number out of range",
        "The number is smaller or greater than makes sense.",
        "Write a number in the range shown.";
    RETRY_CONFLICT = Warning "retry-conflict", "A kind of error is both retried and never retried",
        "It stands in `retry_on` and in `do_not_retry_on`; the latter wins.",
        "Remove it from one of them.";
    DEADLINE_TOO_SHORT = Warning "deadline-too-short", "A deadline before the first timeout",
        "`deadline_seconds` spans all attempts of a task and is not longer than one attempt may take.",
        "Lengthen the deadline, or shorten `timeout_seconds`.";
    UNUSED_OUTPUT = Warning "unused-output", "An output that is never used",
        "`on_failure.output` stands in for a failed node's output with `action: continue` only.",
        "Add `action: continue`, or remove `output`.";
    JOIN_NEVER_FIRES = Error "join-never-fires", "A join that can never hold",
        "The node's `join` asks for an outcome that its dependencies cannot have, so it would always be skipped.",
        "Change the `join`, or the dependencies.";
    JOIN_WITHOUT_DEPENDENCIES = Warning "join-without-dependencies", "A join without dependencies",
        "`join` says which outcomes of the dependencies let a node run; this one has none and always runs.",
        "Add `depends_on`, or remove `join`.";
    // Expressions.
    BAD_EXPRESSION = Error "bad-expression", "An expression that cannot be read",
        "Conditions and what stands in `{{ … }}` are Jinja expressions; there are no statements and no method calls.",
        "Correct the place shown.";
    EXPRESSION_TOO_COMPLEX = Error "expression-too-complex", "An expression that is too long or too deep",
        "An expression may have 1 KB, 64 operators and 32 levels of brackets; a text with expressions 256 KB.",
        "Let a node compute the value.";
    BRACES_IN_CONDITION = Error "braces-in-condition", "A condition in braces",
        "`when` is an expression as it is, without `{{ }}`.",
        "Drop the braces.";
    UNKNOWN_NAME = Error "unknown-name", "An unknown name in an expression",
        "The expression uses a name, filter, test or function that does not exist, or not in this place.",
        "Correct it; a text needs quotes.";
    UNKNOWN_NODE = Error "unknown-node", "An expression names a node that does not exist",
        "`nodes.ID` takes the id of a node of this workflow. Ids with `-` or `.` need `nodes[\"the-id\"]`.",
        "Correct the id.";
    UNKNOWN_PARAM = Error "unknown-param", "An expression names a param that does not exist",
        "`params.NAME` takes a name that `params` declares.",
        "Correct the name, or declare the param.";
    NOT_AN_ANCESTOR = Error "not-an-ancestor", "A reference to a node that may not have run yet",
        "An expression may read only nodes that the node depends on, directly or through others; of any other the output would depend on chance.",
        "Add the node to `depends_on`.";
    DYNAMIC_REFERENCE = Error "dynamic-reference", "A node picked by a computed name",
        "Which nodes an expression reads must be known before the run, so that it cannot read one that has not run.",
        "Name the node: `nodes.ID.output`.";
    // Secrets.
    UNKNOWN_SECRET = Error "unknown-secret", "A secret that is not declared",
        "`{ $secret: NAME }` takes a name that the workflow's `secrets` declares.",
        "Correct the name, or declare it: `secrets: [NAME]`.";
    MISPLACED_SECRET = Error "misplaced-secret", "A secret where it would not stay one",
        "A secret is the whole value of something in a node's `inputs`. Everywhere else it would be written into the log.",
        "Make it a value of its own in the `inputs` of the node that needs it.";
    UNUSED_SECRET = Warning "unused-secret", "A secret that is not used",
        "It is declared, and no node refers to it.",
        "Use it, or remove it.";
    // Limits.
    UNKNOWN_LIMIT = Error "unknown-limit", "A limit that nobody declares",
        "`limits` of a node names limits of the workflow's `limits`, or of the configuration.",
        "Correct the name, or declare the limit.";
    UNUSED_LIMIT = Warning "unused-limit", "A limit that is not used",
        "It is declared, and no node names it.",
        "Name it in the `limits` of the nodes that it is for, or in `defaults`, or remove it.";
    // Params and inputs.
    BAD_PARAM = Error "bad-param", "A param that contradicts itself",
        "Its default, limits or choices do not fit its type or each other.",
        "Correct the declaration.";
    UNKNOWN_INPUT = Error "unknown-input", "An input that the workflow does not take",
        "A run is started with values of the workflow's `params`; this name is not one of them.",
        "Correct the name, or declare the param.";
    MISSING_INPUT = Error "missing-input", "An input is missing",
        "The param has no default and is required.",
        "Give it when the run is started.";
    BAD_INPUT = Error "bad-input", "An input that does not fit its param",
        "Its type or value is not what the param declares.",
        "Give a value that fits.";
    BAD_ANSWER = Error "bad-answer", "An answer that does not fit the question",
        "An approval is answered by `approve` or `reject`, by one of its approvers, with a form that fits; a failure that waits by `retry`, `continue` or `fail`.",
        "Answer as the message says; `segue approvals` shows what is asked.";
    TOO_MANY_PROBLEMS = Error "too-many-problems", "More problems than are shown",
        "After a thousand problems the rest is not listed.",
        "Correct those shown first.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        for (index, code) in ALL.iter().enumerate() {
            assert!(code.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", code.name);
            assert_eq!(ALL.iter().position(|other| other.name == code.name), Some(index), "{} twice", code.name);
            assert_eq!(find(code.name), Some(*code));
        }
    }
}
