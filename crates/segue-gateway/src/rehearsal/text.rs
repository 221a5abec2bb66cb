//! What the model says, in words that a reader of a trial run understands.

use super::prompt::Task;

/// How an answer of this model begins. Told apart when it comes back as the material of a later task.
const GREETING: &str = "Rehearsal: no real model was asked and nothing was spent.";
const DESCRIPTION_CHARS: usize = 240;
const EXPECTED_CHARS: usize = 160;
const MATERIAL_CHARS: usize = 160;

/// The answer in the format that the conversation asks for.
pub(super) fn write(task: &Task) -> String {
    let mut answer = say(task);
    if task.is_plan {
        answer.push_str("\n\nREADY: I am ready to execute the task.");
    }
    if task.is_react {
        answer = format!("Thought: I now can give a great answer\nFinal Answer: {answer}");
    }
    answer
}

/// The answer itself: what this is, what was asked for, what was given.
pub(super) fn say(task: &Task) -> String {
    let mut lines = vec![GREETING.to_owned()];
    match gist(&task.description, DESCRIPTION_CHARS) {
        description if description.is_empty() => lines.push("Nothing was asked.".to_owned()),
        description => lines.push(format!("Task: {description}")),
    }
    if let Some(expected) = &task.expected {
        lines.push(format!("Expected: {}", gist(expected, EXPECTED_CHARS)));
    }
    if let Some(context) = &task.context {
        lines.push(material(context));
    }
    if let Some(result) = &task.tool_result {
        lines.push(format!("A tool answered: {}", gist(result, MATERIAL_CHARS)));
    }
    lines.join("\n")
}

/// What the task is to be made from. Answers of this model are counted, not repeated.
fn material(context: &str) -> String {
    match context.matches(GREETING).count() {
        0 => format!("Given: {}", gist(context, MATERIAL_CHARS)),
        1 => "Given: the rehearsed answer of an earlier task.".to_owned(),
        answers => format!("Given: the rehearsed answers of {answers} earlier tasks."),
    }
}

/// `text` on one line, shortened, without the words by which agents' parsers find a decision. What this model has said
/// before is marked and does not repeat its greeting.
fn gist(text: &str, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(GREETING, "(rehearsed)");
    let line = ["Final Answer:", "Action Input:", "Action:", "Observation:"]
        .iter()
        .fold(line, |line, word| line.replace(word, word.trim_end_matches(':')));
    match line.char_indices().nth(chars_max) {
        None => line,
        Some((end, _)) => {
            let cut = line[..end].rfind(' ').filter(|cut| *cut > end / 2).unwrap_or(end);
            format!("{} …", line[..cut].trim_end())
        }
    }
}
