//! The services of a cloud: their names in catalogues and their API versions.

use reqwest::Url;

/// The services that the kinds use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Service {
    Identity,
    Compute,
    Volume,
    Network,
    Image,
}

impl Service {
    pub(super) const ALL: [Self; 5] =
        [Self::Identity, Self::Compute, Self::Volume, Self::Network, Self::Image];

    /// The types under which catalogues list it, the preferred one first.
    pub(super) const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["identity"],
            Self::Compute => &["compute"],
            Self::Volume => &["block-storage", "volumev3"],
            Self::Network => &["network"],
            Self::Image => &["image"],
        }
    }

    /// The path segment that some catalogues omit.
    pub(super) const fn version(self) -> &'static str {
        match self {
            Self::Identity | Self::Volume => "v3",
            Self::Compute => "v2.1",
            Self::Network => "v2.0",
            Self::Image => "v2",
        }
    }

    /// Its name in the header `OpenStack-API-Version`, and the version that all requests are written for: that of
    /// Train, which every supported cloud has.
    pub(super) const fn microversion(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Compute => Some(("compute", "2.79")),
            Self::Volume => Some(("volume", "3.59")),
            _ => None,
        }
    }

    /// Its name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "keystone",
            Self::Compute => "nova",
            Self::Volume => "cinder",
            Self::Network => "neutron",
            Self::Image => "glance",
        }
    }
}

/// Appends `version` to the path unless it ends with a version already.
pub(super) fn append_version(url: &mut Url, version: &str) {
    let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let versioned = last.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    });
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        if !versioned {
            path.push(version);
        }
    }
}
