//! What a newcomer sees once the examples are applied.

use std::path::Path;

/// Prints the address, the token's place and commands to try.
#[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
pub(crate) fn print(url: &str, token_file: &Path, applied: usize) {
    let token = token_file.display();
    let managed = token_file.with_file_name("managed");
    let managed = managed.display();
    println!(
        "\nstateward serves {url}; {applied} example entities are declared.\n\
         The administrator's token is in {token}. Try, in another terminal:\n\n  \
         export T=\"Authorization: Bearer $(cat {token})\" S={url}\n  \
         curl -sH \"$T\" \"$S/v1/entities?kind=local.file\"\n  \
         curl -sH \"$T\" -H 'Prefer: wait=5' -H 'Content-Type: application/json' $S/v1/entities -d \
         '{{\"kind\": \"local.file\", \"name\": \"hello\", \"desired\": {{\"path\": \"hello.txt\", \"content\": \"hello\\n\"}}}}'\n  \
         cat {managed}/hello.txt; echo drift > {managed}/hello.txt   # put back within 10 s\n  \
         curl -sH \"$T\" \"$S/v1/operations?page_size=5\"\n  \
         curl -sH \"$T\" \"$S/v1/events?page_size=5\"\n\n\
         Press Ctrl-C to end.\n"
    );
}
