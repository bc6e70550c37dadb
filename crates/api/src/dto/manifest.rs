//! Manifests in requests: a whole one, or the members to change.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{
    DeletionPolicy, DriftPolicy, ManagementPolicy, ReplacePolicy, Settings, SettingsPatch,
};
use stateward_domain::id::{BackendName, EntityName, ExternalId, KindName, Namespace, Revision};
use stateward_engine::Engine;
use stateward_engine::access::DEFAULT_NAMESPACE;
use stateward_engine::service::{Declaration, EntityChange};

use crate::problem::Problem;

/// A member that may be absent, but not `null`: absent means the default, and a client that sends `null` expects
/// something else.
fn non_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    reader: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

/// Entities by `KIND/NAME`.
#[derive(Default)]
pub(crate) struct Dependencies(pub(crate) BTreeSet<Target>);

impl Serialize for Dependencies {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Dependencies {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(reader)?;
        let target = |text: &String| {
            Target::parse(text).ok_or_else(|| D::Error::custom("depends_on takes \"KIND/NAME\""))
        };
        texts.iter().map(target).collect::<Result<_, _>>().map(Self)
    }
}

/// A declaration.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestBody {
    kind: String,
    #[schema(min_length = 1, max_length = 253, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: String,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(nullable = false)]
    namespace: Option<String>,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(nullable = false)]
    backend: Option<String>,
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>)]
    desired: Value,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(min_length = 1, max_length = 1024, nullable = false)]
    external_id: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<crate::schema::enums::DeletionSchema>, nullable = false)]
    deletion_policy: Option<DeletionPolicy>,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<crate::schema::enums::DriftSchema>, nullable = false)]
    drift_policy: Option<DriftPolicy>,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<crate::schema::enums::ManagementSchema>, nullable = false)]
    management_policy: Option<ManagementPolicy>,
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<crate::schema::enums::ReplaceSchema>, nullable = false)]
    replace: Option<ReplacePolicy>,
    #[serde(default)]
    ignore_fields: Vec<String>,
    #[serde(default)]
    protected: bool,
    /// Entities of the namespace (`KIND/NAME`) that are created before this one and deleted after it, though no value
    /// of them is used
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 64)]
    depends_on: Dependencies,
}

impl ManifestBody {
    /// The namespace in the manifest; it need not exist.
    pub(crate) fn namespace(&self) -> Namespace {
        Namespace::from(self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE))
    }

    /// The declaration. An entity that adopts an object is by default `observe_only`, and its object is kept on
    /// deletion; drift is treated as the kind says.
    pub(crate) fn declaration(self, engine: &Engine) -> Result<Declaration, Problem> {
        let namespace = self.namespace();
        if engine.access().namespace(&namespace).is_none() {
            return Err(Problem::unknown_namespace());
        }
        let imports = self.external_id.is_some();
        let (deletion, management) = if imports {
            (DeletionPolicy::Orphan, ManagementPolicy::ObserveOnly)
        } else {
            (DeletionPolicy::default(), ManagementPolicy::default())
        };
        let kind = KindName(self.kind);
        let drift = engine.kinds().get(&kind).map(|kind| kind.drift_policy).unwrap_or_default();
        Ok(Declaration {
            namespace,
            kind,
            name: EntityName(self.name),
            backend: self.backend.map(BackendName),
            desired: self.desired,
            settings: Settings {
                labels: self.labels,
                deletion_policy: self.deletion_policy.unwrap_or(deletion),
                drift_policy: self.drift_policy.unwrap_or(drift),
                management_policy: self.management_policy.unwrap_or(management),
                replace: self.replace.unwrap_or_default(),
                ignore_fields: self.ignore_fields,
                protected: self.protected,
                depends_on: self.depends_on.0,
            },
            external_id: self.external_id.map(ExternalId),
        })
    }
}

/// The document that PUT replaces members of, and PATCH patches.
#[derive(Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    desired: Option<Value>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::enums::DeletionSchema>, nullable = false)]
    deletion_policy: Option<DeletionPolicy>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::enums::DriftSchema>, nullable = false)]
    drift_policy: Option<DriftPolicy>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::enums::ManagementSchema>, nullable = false)]
    management_policy: Option<ManagementPolicy>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::enums::ReplaceSchema>, nullable = false)]
    replace: Option<ReplacePolicy>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ignore_fields: Option<Vec<String>>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    protected: Option<bool>,
    #[serde(default, deserialize_with = "non_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, max_items = 64, nullable = false)]
    depends_on: Option<Dependencies>,
}

impl ChangeBody {
    /// The current document of an entity.
    pub(crate) fn of(entity: &Entity) -> Self {
        let settings = entity.manifest.settings.clone();
        Self {
            desired: Some(entity.manifest.desired.clone()),
            labels: Some(settings.labels),
            deletion_policy: Some(settings.deletion_policy),
            drift_policy: Some(settings.drift_policy),
            management_policy: Some(settings.management_policy),
            replace: Some(settings.replace),
            ignore_fields: Some(settings.ignore_fields),
            protected: Some(settings.protected),
            depends_on: Some(Dependencies(settings.depends_on)),
        }
    }

    /// The requested change; `replace` = the object may be replaced for it.
    pub(crate) fn change(self, if_revision: Option<Vec<Revision>>, replace: bool) -> EntityChange {
        EntityChange {
            if_revision,
            replace,
            desired: self.desired,
            settings: SettingsPatch {
                labels: self.labels,
                deletion_policy: self.deletion_policy,
                drift_policy: self.drift_policy,
                management_policy: self.management_policy,
                replace: self.replace,
                ignore_fields: self.ignore_fields,
                protected: self.protected,
                depends_on: self.depends_on.map(|targets| targets.0),
            },
        }
    }
}
