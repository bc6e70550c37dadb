//! The environment variables of a process.

/// The variables and directories that a search looks at; a value, so that tests need none of the process'.
pub(in crate::openstack) struct Environment {
    pub(in crate::openstack) variable: fn(&str) -> Option<String>,
}

impl Environment {
    /// That of this process.
    pub(in crate::openstack) fn process() -> Self {
        Self { variable: |name| std::env::var(name).ok().filter(|value| !value.is_empty()) }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }
}
