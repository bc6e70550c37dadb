//! Every promise of the contract, for every kind, on the cloud.

use super::ground::Ground;
use super::{and_clean, cloud_for, network, others};
use crate::lives::keeps_all;

macro_rules! kinds {
    ($($test:ident, $kind:literal: $plans:path;)*) => {
        /// Every kind that has a subject here.
        pub(crate) const KINDS: &[&str] = &[$($kind),*];

        $(
            #[tokio::test]
            async fn $test() {
                let Some(driver) = cloud_for($kind) else { return };
                let mut ground = Ground::new(&driver);
                let plans = $plans(&mut ground).await;
                let subject = plans.subject(&driver, $kind);
                and_clean(keeps_all(&subject), async {
                    subject.clear().await;
                    ground.clear().await;
                })
                .await;
            }
        )*
    };
}

kinds! {
    a_network_keeps_every_promise, "openstack.network": network::network;
    a_subnet_keeps_every_promise, "openstack.subnet": network::subnet;
    a_volume_keeps_every_promise, "openstack.volume": others::volume;
    a_snapshot_keeps_every_promise, "openstack.snapshot": others::snapshot;
    a_security_group_keeps_every_promise, "openstack.security_group": network::security_group;
    a_port_keeps_every_promise, "openstack.port": network::port;
    a_router_keeps_every_promise, "openstack.router": network::router;
    a_floating_ip_keeps_every_promise, "openstack.floating_ip": network::floating_ip;
    a_keypair_keeps_every_promise, "openstack.keypair": others::keypair;
    a_server_group_keeps_every_promise, "openstack.server_group": others::server_group;
    an_image_keeps_every_promise, "openstack.image": others::image;
    a_server_keeps_every_promise, "openstack.server": others::server;
    a_project_keeps_every_promise, "openstack.project": others::project;
    a_backup_keeps_every_promise, "openstack.backup": others::backup;
}
