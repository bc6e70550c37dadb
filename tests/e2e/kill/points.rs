//! Killed before and after every append, queue write and driver call: nothing is created twice, lost or stuck.

use futures_util::StreamExt;
use futures_util::stream;

use super::life::Life;

/// How often a point is passed before it kills. The lifecycle passes each point at least once.
const PASSED: [u32; 3] = [0, 2, 9];
/// Lifecycles at the same time.
const AT_ONCE: usize = 4;

async fn die_at(points: &[&str]) {
    let cases: Vec<_> = points
        .iter()
        .flat_map(|point| PASSED.map(|passed| (*point, passed)))
        .map(|(point, passed)| async move {
            let mut life = Life::begin(&format!("{point}={passed}*off->return")).await;
            life.lead().await;
            life.judge().await;
            assert!(life.died || passed > 0, "nothing died at {point}");
            life.died
        })
        .collect();
    let (asked, mut died) = (cases.len(), 0);
    let mut lives = stream::iter(cases).buffer_unordered(AT_ONCE);
    while let Some(one_died) = lives.next().await {
        died += usize::from(one_died);
    }
    println!("{} points, {asked} lives, {died} deaths", points.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_of_the_store() {
    die_at(stateward_store::FAILPOINTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_of_the_drivers() {
    die_at(stateward_drivers::FAILPOINTS).await;
}
