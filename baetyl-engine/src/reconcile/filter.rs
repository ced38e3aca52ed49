//! Whose applications are mine: the split between init and core (edge.md 6.2). Pure.

use baetyl_core_lib::application::Scope;

/// What every application of core's own carries in its name.
const CORE: &str = "baetyl-core";

/// Which part of the node this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs everything but itself.
    Core,
    /// Runs core, and nothing else.
    Init,
    /// Runs everything: a node in one process.
    Whole,
}

impl Role {
    /// Whether this role makes, updates and removes this application.
    pub fn manages(self, scope: Scope, name: &str) -> bool {
        let core = scope == Scope::System && name.contains(CORE);
        match self {
            Self::Core => !core,
            Self::Init => core,
            Self::Whole => true,
        }
    }

    /// The scopes that this role looks at.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Core | Self::Whole => &Scope::ALL,
            Self::Init => &[Scope::System],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_application_has_exactly_one_of_init_and_core() {
        for name in ["baetyl-core-8xk2mq7ab", "baetyl-init-1", "baetyl-broker", "my-baetyl-core", "web"] {
            for scope in Scope::ALL {
                assert_ne!(Role::Core.manages(scope, name), Role::Init.manages(scope, name), "{name}");
            }
        }
    }

    #[test]
    fn an_application_of_the_user_is_never_for_init() {
        assert!(!Role::Init.manages(Scope::User, "baetyl-core-fake"));
        assert!(Role::Core.manages(Scope::User, "baetyl-core-fake"));
    }
}
