/* evidence_text.c - what auditors ask, and which section of a report answers; where documents are in the clear; what a report cannot show. */
#include "evidence.h"

#include "base/mem.h"

static const struct {
    const char *framework, *reference, *question, *sections;
} questions[] = {
    { "ISO/IEC 27001:2022", "A.8.24 Use of cryptography",
      "Which algorithms protect the data, which keys, where are they, and who decides over them?",
      "algorithms,key,identity,generations" },
    { "ISO/IEC 27001:2022", "A.8.24 Use of cryptography",
      "When were keys made, changed and destroyed, and is anything left under an old one?",
      "keyEvents,generations,census,needed" },
    { "ISO/IEC 27001:2022", "A.8.10 Information deletion",
      "What still opens with an old key, and what was destroyed?",
      "olderVersionsNeeded,needed,keyEvents" },
    { "ISO/IEC 27001:2022", "A.8.13 Information backup",
      "Are backups encrypted, and which version of the key does each need?", "needed" },
    { "ISO/IEC 27001:2022", "A.8.2 Privileged access rights, A.8.15 Logging",
      "Who changed what, and who was refused?", "access,log" },
    { "ISO/IEC 27001:2022", "A.8.15 Logging, A.8.24 Use of cryptography",
      "Who used the key, how often and when last, and who was refused?", "keyUse" },
    { "ISO/IEC 27001:2022", "A.5.30 ICT readiness for business continuity",
      "Was taking the key away, and giving it back, practised, and how long did it take?",
      "drills" },
    { "HIPAA", "45 CFR 164.312(a)(2)(iv) Encryption and decryption",
      "Is what is stored encrypted, with what, and how was that verified?",
      "algorithms,disk,plaintext" },
    { "HIPAA", "45 CFR 164.312(b) Audit controls", "What is recorded of who did what?",
      "access,keyEvents,keyUse,log" },
    { "HIPAA", "45 CFR 164.312(c)(1) Integrity", "Would a change of what is stored be noticed?",
      "algorithms,disk" },
    { "HIPAA", "45 CFR 164.308(a)(7)(ii)(D) Testing and revision procedures",
      "Are the procedures for an emergency tested?", "drills" },
    { "GDPR", "Article 32(1)(a) Encryption of personal data",
      "Are personal data encrypted where they are stored?", "algorithms,disk,plaintext" },
    { "GDPR", "Article 32(1)(d) Regular testing of measures",
      "Is the effect of the measures tested regularly?", "drills" },
    { "GDPR", "Article 17 Right to erasure, Article 28(3)(g) End of processing",
      "Can the customer make all copies unreadable, and what would still need the key?",
      "key,needed,drills" },
};

static const char on_disk_none[] =
    "on disk: none. Every file of the data directory is AES-256-GCM ciphertext with a header, or the key envelope, which holds wrapped keys; each was looked at for this report (section disk), without keys";
static const char on_disk_problems[] =
    "on disk: files that are not what a data directory holds were found, or could be read in part: section disk names them";

static const char *const plaintext[] = {
    "in backups: none. They are copies of the files as they are; none was looked at for this report",
    "in temporary files: none. Sorts and groups over their memory budget go to unnamed files under a key that never leaves memory",
    "in the log: none. Values of documents and names of users are printed as a length and a keyed hash",
    "in memory: documents and keys, while the cluster is Ready; none once it is Inaccessible, because the process replaces its memory image",
};

static const char *const not_shown[] = {
    "the administration log lies with whoever operates the machine; the vault's own audit record of the key's use is independent of it",
    "that the vault's record is the whole of it is the vault's own word: compare the number and chain in keyUse with a line of `coffer vault audit` that was kept elsewhere",
    "that the files are authentic: for this report they were read without keys; the node authenticates every byte that it reads, and `coffer inspect --with-keys-of` verifies all of it, or of a backup",
    "copies of the data directory and of its key envelope that the cluster does not know of: they need the version of the key that wrapped them",
    "whether connections of clients were encrypted, and what clients did with what they read",
    "what the operator of a Ready cluster could read in its memory: see docs/threat-model.md",
};

void evidence_answers(uint64_t problems, struct bw *w)
{
    bw_array_begin(w, "plaintext");
    bw_str(w, NULL, problems ? on_disk_problems : on_disk_none);
    for (size_t i = 0; i < ARRAY_LEN(plaintext); i++)
        bw_str(w, NULL, plaintext[i]);
    bw_array_end(w);
    bw_array_begin(w, "questions");
    for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
        bw_doc_begin(w, NULL);
        bw_str(w, "framework", questions[i].framework);
        bw_str(w, "reference", questions[i].reference);
        bw_str(w, "question", questions[i].question);
        bw_array_begin(w, "answeredBy");
        for (const char *p = questions[i].sections; *p;) {
            const char *end = p;
            while (*end && *end != ',')
                end++;
            bw_str_slice(w, NULL, SLICE((const uint8_t *)p, (size_t)(end - p)));
            p = *end ? end + 1 : end;
        }
        bw_array_end(w);
        bw_doc_end(w);
    }
    bw_array_end(w);
    bw_array_begin(w, "notShown");
    for (size_t i = 0; i < ARRAY_LEN(not_shown); i++)
        bw_str(w, NULL, not_shown[i]);
    bw_array_end(w);
}
