//! The environment variables of a process.

/// Access to environment variables; a value, so that tests do not depend on the process.
pub(in crate::openstack) struct Environment {
    pub(in crate::openstack) variable: fn(&str) -> Option<String>,
}

impl Environment {
    /// The environment of this process.
    pub(in crate::openstack) fn process() -> Self {
        Self { variable: |name| std::env::var(name).ok().filter(|value| !value.is_empty()) }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }
}
