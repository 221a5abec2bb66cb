//! Bugs on purpose.
//!
//! The mutation test of `segue-testkit` plants one after the other and shows that the simulator finds each of them: so
//! we know that it would find such a bug if somebody made it. Only the feature `mutants` compiles any of this; without
//! it every `planted!(…)` in the kernel is `false`.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Declares the mutants once, with the list of all.
macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

mutants! {
    /// An answer counts whatever its attempt.
    AcceptsStaleAnswers,
    /// The second answer of an attempt counts too.
    AcceptsAnswersTwice,
    /// A success counts although its attempt was cancelled.
    TakesAnswersOfTheCancelled,
    /// The timeout of an attempt is not over when the attempt succeeds.
    TimesOutWhatHasEnded,
    /// What has been answered can be answered again.
    TakesSecondAnswers,
    /// A task that runs can be accepted again.
    AcceptsTasksTwice,
    /// `max_parallel_nodes` is not looked at.
    ForgetsMaxParallel,
    /// Attempts are numbered from 2.
    AttemptOffByOne,
    /// One attempt more than the policy has.
    RetriesWithoutAttemptsLeft,
    /// `invalid_input` and all others are retried.
    RetriesPermanentErrors,
    /// A task may kill any number of engines.
    QuarantinesNobody,
    /// A lost engine costs an attempt of the policy.
    CountsEngineLosses,
    /// An attempt that a provider sent back costs one of the policy, although everybody waits it out.
    CountsWhatIsWaitedOut,
    /// Every pause is as long as it may be.
    IgnoresJitter,
    /// The provider's pause is not waited out.
    IgnoresRetryAfter,
    /// A retry may be due after the task's deadline.
    RetriesAfterDeadline,
    /// A task that waits for its retry may start at once.
    StartsBeforeDue,
    /// No timer is set for an attempt.
    LosesTimeouts,
    /// The timer of an attempt outlives it.
    KeepsOldTimers,
    /// No timer is set for the run.
    LosesRunTimeout,
    /// A wake-up is wanted for a retry that is due already.
    WakesInThePast,
    /// A success that comes after the cancel is thrown away.
    LosesSuccessOnCancel,
    /// After the cancel everything goes on as before.
    GoesOnAfterCancel,
    /// What has not started is not cancelled.
    CancelForgetsWhatWaits,
    /// A failure that nothing handles is a success of the run.
    ReportsFailureAsSuccess,
    /// The run ends as soon as nothing waits.
    EndsWhileSomethingRuns,
    /// A `seq` is left out.
    LeavesAGapInSeq,
    /// `on_failure: continue` fails the run all the same.
    ContinueCountsAsFailure,
    /// What depends on a skipped task is not told.
    ForgetsSkipCascade,
    /// Joins take a failure for a skip.
    CountsFailuresAsSkips,
    /// Every edge is followed.
    IgnoresEdgeConditions,
    /// Values are dropped before the edges' conditions have read them.
    DropsValuesTooEarly,
    /// Large values are not loaded when a log is read.
    LoadsTooFewValues,
    /// Reopening runs everything again.
    ReopenRunsSuccessesAgain,
    /// Reopening numbers attempts from 1 again, so that stale answers fit.
    ReopenForgetsAttempts,
    /// The row of the first task that changed is not written.
    RowsMissATask,
    /// The row of what begins again is not written.
    RowsMissRestarts,
    /// All instances begin at once.
    ForgetsParallelism,
    /// The list of the instances' outputs is the wrong way round.
    InstancesInTheWrongOrder,
    /// A `foreach` succeeds although an instance failed.
    ForgetsFailedInstances,
    /// Iterations are counted by twos.
    IterationsLeaveGaps,
    /// One iteration more than `max_iterations`.
    OneIterationTooMany,
    /// `delay_seconds` is not waited out.
    ForgetsThePauseBetween,
    /// `on_exhausted: fail` does not.
    ExhaustedIsSuccess,
    /// `on_failure: continue` speaks of each iteration.
    ContinuesAfterFailedIterations,
    /// One round more than `max_iterations`.
    OneRoundTooMany,
    /// The condition of a loop edge is not looked at.
    LoopsUnconditionally,
    /// What still runs in the body of a loop runs on in the next round.
    RoundsLeaveOldTasks,
    /// A loop inside a loop counts its rounds on.
    InnerLoopsGoOn,
    /// A loop whose end succeeded while the run was being stopped does not go round.
    ReopenForgetsLoops,
    /// A group ends before its last member.
    GroupsEndEarly,
    /// A group succeeds whatever failed in it.
    GroupsNeverFail,
    /// A signal is for everybody.
    HearsEveryEvent,
    /// `wait.match` is not looked at.
    TakesSignalsThatDoNotMatch,
    /// No timer is set for what waits.
    WaitsForEver,
    /// A rejection counts as an approval.
    TakesNoForYes,
    /// No answer in time counts as an approval.
    TakesSilenceForYes,
    /// `output_schema` is not looked at.
    IgnoresTheSchema,
    /// `output_schema` is that of the list of all instances, too.
    SchemaOfTheWholeList,
    /// An output that does not fit is not tried again.
    MisfitsAreFinal,
    /// What led to an output that does not fit is not counted.
    MisfitsCostNothing,
    /// An attempt that waits for a child run goes on holding a place.
    ChildrenHoldPlaces,
    /// `timeout_seconds` end when the waiting for a child run begins.
    ChildrenHaveNoTimeout,
    /// An attempt that waits for a child run may say so again.
    WaitsTwiceForChildren,
    /// Child runs of a run that is being stopped are awaited on.
    AwaitsChildrenOfStoppedRuns,
    /// The ends of the child runs of a run that is being stopped are not awaited.
    StopsForgetChildren,
    /// `on_failure: pause` asks nobody.
    PausesNobody,
    /// What led to a failure that somebody decides about is not counted.
    PausesCostNothing,
    /// The task's deadline passes while somebody thinks.
    DeadlinesPassWhilePaused,
    /// The output that somebody gives is not taken.
    ContinuesWithNothing,
    /// Who says retry does not give the task its attempts again.
    RetriesAreTheLastOnes,
    /// The nodes of `on_failure` run whatever happened.
    OnFailureAlwaysRuns,
    /// The `finally` nodes of a run that is being stopped may take for ever.
    FinallyHasNoLimit,
    /// A cancel stops the `finally` nodes at once.
    TheFirstCancelStopsFinally,
    /// A run that is being stopped runs no `finally` nodes.
    StoppedRunsHaveNoEnd,
    /// A run succeeds although one of its `finally` nodes failed.
    FinallyNeverFails,
    /// Reopening does not run the later stages again.
    ReopenKeepsTheEnd,
    /// A result that is taken over does not say from where.
    ForgetsWhoseResultsTheyAre,
    /// Only what depends on nothing is taken over.
    ReusesOnlyTheFirst,
    /// Of a loop a part may be taken over.
    ReusesPartsOfLoops,
    /// A loop that is taken over goes round again.
    ReusedLoopsGoRound,
    /// A task that asks pays nothing for the attempt.
    QuestionsCostNothing,
    /// A task's deadline passes while somebody thinks about its question.
    DeadlinesPassWhileAsked,
    /// A question that is turned down is answered with nothing.
    TakesNoForAnAnswer,
    /// `handle` changes what only `apply` may.
    ChangesStateBesideTheLog,
}

/// Plants a bug in the kernel, for this thread; `None` heals it.
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

pub(super) fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}
