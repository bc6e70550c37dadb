//! Killed before and after every append, queue write and driver call: nothing is created twice, lost or stuck.

use futures_util::StreamExt;
use futures_util::stream;

use super::lifecycle::Lifecycle;

/// How often a point is passed before it kills. The lifecycle passes each point at least once.
const PASSED: [u32; 3] = [0, 2, 9];
/// Lifecycles at the same time.
const AT_ONCE: usize = 4;

async fn kill_at(points: &[&str]) {
    let cases: Vec<_> = points
        .iter()
        .flat_map(|point| PASSED.map(|passed| (*point, passed)))
        .map(|(point, passed)| async move {
            let mut lifecycle = Lifecycle::begin(&format!("{point}={passed}*off->return")).await;
            lifecycle.run().await;
            lifecycle.verify().await;
            assert!(lifecycle.died || passed > 0, "nothing died at {point}");
            lifecycle.died
        })
        .collect();
    let (asked, mut died) = (cases.len(), 0);
    let mut lifecycles = stream::iter(cases).buffer_unordered(AT_ONCE);
    while let Some(one_died) = lifecycles.next().await {
        died += usize::from(one_died);
    }
    println!("{} points, {asked} lifecycles, {died} deaths", points.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_of_the_store() {
    let shared = std::env::var("STATEWARD_TEST_STORE").is_ok_and(|store| store == "postgres");
    // No process ends the leases of others in a store that several share.
    let points: Vec<_> = stateward_store::FAILPOINTS
        .iter()
        .copied()
        .filter(|point| !shared || !point.contains("release_all"))
        .collect();
    kill_at(&points).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_of_the_drivers() {
    kill_at(stateward_drivers::FAILPOINTS).await;
}
