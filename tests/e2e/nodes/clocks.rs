//! Nodes whose clock is not the database's.

use crate::harness::{Database, Setup, refused, until};

/// The check of the clocks in `/readyz`.
const CHECK: &str = "store/clock";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_minutes_off_does_not_start_and_one_that_is_seconds_off_says_so() {
    let Some(database) = Database::shared() else { return };
    let node = Setup::sharing(&database, "", None);
    for (seconds, said) in [(75, "behind"), (-75, "ahead of")] {
        database.shift_clock(seconds);
        let (code, lines) = refused(node.command()).await;
        assert_eq!(code, Some(1), "{lines:?}");
        let refusals: Vec<_> = lines.iter().filter(|line| line.contains("the clock of")).collect();
        assert_eq!(refusals.len(), 1, "one line: {lines:?}");
        assert!(refusals[0].contains(said) && refusals[0].contains("database"), "{}", refusals[0]);
    }
    for (seconds, said) in [(3, Some("behind")), (-3, Some("ahead of")), (0, None)] {
        database.shift_clock(seconds);
        let mut server = node.start().await;
        let ready = until("it is ready", async || {
            let ready = server.client.get("/readyz").await.body;
            (ready["ready"] == true).then_some(ready)
        })
        .await;
        let checks = ready["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == CHECK).expect("the check");
        assert_eq!(check["ok"], said.is_none(), "{check:#}");
        let detail = check["detail"].as_str().unwrap_or_default();
        assert!(said.is_none_or(|said| detail.contains(said)), "{check:#}");
        let stranger = server.client.with_token("").get("/readyz").await.body;
        let checks = stranger["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == CHECK).expect("the check");
        assert!(check["detail"].is_null(), "a stranger learns no more: {check:#}");
        assert!(server.terminate().await.success());
    }
}
