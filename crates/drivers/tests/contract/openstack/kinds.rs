//! The whole contract, for every kind, on the cloud.

use super::prerequisites::Env;
use super::{cloud_for, plans_network, plans_storage_and_compute, then_clean_up};
use crate::suite::run_all;

macro_rules! kinds {
    ($($test:ident, $kind:literal: $plans:path;)*) => {
        /// Every kind that has a subject here.
        pub(crate) const KINDS: &[&str] = &[$($kind),*];

        $(
            #[tokio::test]
            async fn $test() {
                let Some(driver) = cloud_for($kind) else { return };
                let mut env = Env::new(&driver);
                let plans = $plans(&mut env).await;
                let subject = plans.subject(&driver, $kind);
                then_clean_up(run_all(&subject), async {
                    subject.clear().await;
                    env.clear().await;
                })
                .await;
            }
        )*
    };
}

kinds! {
    a_network_keeps_every_promise, "openstack.network": plans_network::network;
    a_subnet_keeps_every_promise, "openstack.subnet": plans_network::subnet;
    a_volume_keeps_every_promise, "openstack.volume": plans_storage_and_compute::volume;
    a_snapshot_keeps_every_promise, "openstack.snapshot": plans_storage_and_compute::snapshot;
    a_security_group_keeps_every_promise, "openstack.security_group": plans_network::security_group;
    a_port_keeps_every_promise, "openstack.port": plans_network::port;
    a_router_keeps_every_promise, "openstack.router": plans_network::router;
    a_floating_ip_keeps_every_promise, "openstack.floating_ip": plans_network::floating_ip;
    a_keypair_keeps_every_promise, "openstack.keypair": plans_storage_and_compute::keypair;
    a_server_group_keeps_every_promise, "openstack.server_group": plans_storage_and_compute::server_group;
    an_image_keeps_every_promise, "openstack.image": plans_storage_and_compute::image;
    a_server_keeps_every_promise, "openstack.server": plans_storage_and_compute::server;
    a_project_keeps_every_promise, "openstack.project": plans_storage_and_compute::project;
    a_backup_keeps_every_promise, "openstack.backup": plans_storage_and_compute::backup;
}
