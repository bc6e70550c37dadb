//! Names the product's binary to the harness of `tests/e2e`, which finds it so in its own workspace.

fn main() {
    println!("cargo::rerun-if-env-changed=STATEWARD_BIN");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let target = named("CARGO_TARGET_DIR");
    let target = target
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target").to_owned());
    let binary = named("STATEWARD_BIN").unwrap_or_else(|| format!("{target}/debug/stateward"));
    println!("cargo::rustc-env=CARGO_BIN_EXE_stateward={binary}");
}
