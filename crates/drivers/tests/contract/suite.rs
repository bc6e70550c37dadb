//! The contract, for every kind that needs no external service.

use crate::kind_under_test::{Subject, all};
use crate::promises;

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                for subject in all() {
                    promises::$name(&subject).await;
                }
            }
        )*

        /// Runs all tests in turn; each cleans up after itself.
        pub(crate) async fn run_all(subject: &Subject) {
            $(
                println!("{}: {}", subject.kind, stringify!($name));
                promises::$name(subject).await;
                subject.clear().await;
            )*
        }
    };
}

promises!(
    what_is_created_is_observed_found_and_listed_and_needs_no_change,
    a_creation_that_is_repeated_never_harms_what_is_there,
    each_field_is_updated_alone,
    an_immutable_field_needs_a_replacement_and_is_never_changed,
    a_deletion_is_proved_and_may_be_repeated,
    drift_is_seen_and_corrected,
    what_was_never_there_is_proved_absent,
    a_checked_desired_state_stays_as_it_is,
    what_was_observed_is_no_change_when_it_is_declared,
    nothing_is_sent_once_the_attempt_s_time_is_over,
    the_same_backend_has_the_same_identity,
    what_is_write_only_never_comes_out,
);
