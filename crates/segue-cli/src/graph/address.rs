//! Which node a task belongs to: task ids such as `write`, `research[3]`, `improve#2` and `g[0]#1/draft`, taken apart.

/// A task's place: its node, and which of the node's tasks it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// The node's id.
    pub(crate) node: &'a str,
    /// It is this instance of its node, or part of it.
    pub(crate) index: Option<u32>,
    /// It is this iteration of its node.
    pub(crate) iteration: Option<u32>,
}

impl<'a> Address<'a> {
    /// Takes a task's id apart. Node ids hold none of `[`, `#` and `/`.
    pub(crate) fn of(task: &'a str) -> Self {
        let own = task.rsplit('/').next().unwrap_or(task);
        let (rest, iteration) = match own.split_once('#') {
            Some((rest, iteration)) => (rest, iteration.parse().ok()),
            None => (own, None),
        };
        let (node, index) = match rest.split_once('[') {
            Some((node, index)) => (node, index.trim_end_matches(']').parse().ok()),
            None => (rest, None),
        };
        Self { node, index, iteration }
    }

    /// The task's id without its iterations, those of the groups around it included: what stays the same while a loop
    /// goes round.
    pub(crate) fn lasting(task: &str) -> String {
        let mut lasting = String::with_capacity(task.len());
        let mut in_iteration = false;
        for c in task.chars() {
            match c {
                '#' => in_iteration = true,
                '/' => in_iteration = false,
                _ => {}
            }
            if !in_iteration {
                lasting.push(c);
            }
        }
        lasting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_apart() {
        let address = |node, index, iteration| Address { node, index, iteration };
        assert_eq!(Address::of("write"), address("write", None, None));
        assert_eq!(Address::of("research[12]"), address("research", Some(12), None));
        assert_eq!(Address::of("improve#2"), address("improve", None, Some(2)));
        assert_eq!(Address::of("g[0]#1/draft.v2"), address("draft.v2", None, None));
        assert_eq!(Address::of("g#1/x[3]#7"), address("x", Some(3), Some(7)));
        assert_eq!(Address::lasting("g[0]#12/h#1/x[3]#7"), "g[0]/h/x[3]");
        assert_eq!(Address::lasting("write"), "write");
    }
}
