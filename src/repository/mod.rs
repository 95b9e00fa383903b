//! The repository of trained models: numbered versions on disk, which of them is served, and by what other names they go.
//!
//! ```text
//! <root>/<model>/<version>/   architecture.json  weights.safetensors  card.json  [evaluation.json]  [history.json]
//!                             [golden.safetensors]
//! <root>/<model>/aliases.json which version the bare name serves, once somebody has chosen, and other labels
//! ```
//!
//! A version appears by one rename, whole, and then never changes but for its `evaluation.json`, which is replaced by a rename
//! too, as are golden answers that an old version gets. What is being written or removed lies in a `.tmp-…` folder beside the versions, which nobody else looks at. Whatever
//! changes a model holds the lock on its `.lock` file meanwhile, so several processes can share one repository. Readers need
//! no lock and no right to write.

mod aliases;
mod card;
mod checked;
mod error;
mod exported;
mod folder;
mod golden;
mod imported;
mod listing;
mod name;
mod serving;
mod store;
mod version;

pub use aliases::MAX_ALIASES;
pub use card::{Card, DatasetLineage, Lineage, Origin, Outputs};
pub use checked::Snapshot;
pub use error::{RepositoryError, VersionFault};
pub use exported::ExportFormat;
pub use folder::MAX_VERSION;
pub use golden::Golden;
pub use imported::ImportOptions;
pub use listing::{ModelListing, VersionListing, VersionState};
pub use name::ModelName;
pub use store::Repository;
pub use version::{Draft, Stamp, StoredVersion};
