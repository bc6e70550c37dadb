//! The list of failpoints equals those in the source.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_listed_point_is_passed_and_every_passed_one_is_listed() {
    let mut passed = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&source, &mut passed);
    let listed: BTreeSet<_> = stateward_store::FAILPOINTS.iter().map(|&p| p.to_owned()).collect();
    assert_eq!(listed, passed);
}

fn collect(folder: &Path, passed: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, passed);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for rest in text.split("failpoints::reach(\"").skip(1) {
            passed.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
}
