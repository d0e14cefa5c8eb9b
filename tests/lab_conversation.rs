//! Goal: two callers who speak at the same time each hear, in their own language and in order, what
//! the other one said, and when they have hung up nothing is left of the call.
//! Method: a real Asterisk, the whole product, two phones; each recording is given to a recogniser
//! and must hold exactly the expected translations. Once with telephone quality, once wide band.

mod support;

use support::lab_asterisk::Asterisk;
use support::lab_call::{Pair, assert_legs_balance, folder};
use support::product_programs::{self, Vendors};
use support::product_speech::Phrase;

const FIRST_WORD_S: f64 = 1.5;

const ON_TELEPHONES: Pair = Pair {
    name: "telephone",
    codec: "pcmu",
    in_english: &[
        Phrase {
            en: "I would like to book a table for four people on Friday.",
            fr: "Je voudrais réserver une table pour quatre personnes vendredi.",
        },
        Phrase {
            en: "Can I pay by credit card?",
            fr: "Est-ce que je peux payer par carte bancaire ?",
        },
        Phrase {
            en: "Thank you for your help, goodbye.",
            fr: "Merci pour votre aide, au revoir.",
        },
    ],
    in_french: &[
        Phrase {
            en: "How can I help you?",
            fr: "En quoi puis-je vous être utile ?",
        },
        Phrase {
            en: "The total price is fifty euros.",
            fr: "Le prix total est de cinquante euros.",
        },
        Phrase {
            en: "Your reservation is confirmed.",
            fr: "Votre réservation est confirmée.",
        },
    ],
};

const IN_WIDE_BAND: Pair = Pair {
    name: "wide",
    codec: "l16",
    in_english: &[
        Phrase {
            en: "My flight was delayed, so I will arrive at half past nine.",
            fr: "Mon vol a du retard, donc j'arriverai à neuf heures et demie.",
        },
        Phrase {
            en: "There is a mistake on my bill.",
            fr: "Il y a une erreur sur ma facture.",
        },
    ],
    in_french: &[
        Phrase {
            en: "The taxi will be there in twenty minutes.",
            fr: "Le taxi sera là dans vingt minutes.",
        },
        Phrase {
            en: "The weather is beautiful here.",
            fr: "Il fait très beau ici.",
        },
    ],
};

#[test]
fn telephones_hear_each_other_in_their_own_language() {
    converse(ON_TELEPHONES);
}

#[test]
fn wide_band_phones_hear_each_other_in_their_own_language() {
    converse(IN_WIDE_BAND);
}

fn converse(pair: Pair) {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder(pair.name);
    let vendors = Vendors::start();
    let diglot = product_programs::run(&asterisk, &vendors);
    let talks = pair
        .callers(&folder, FIRST_WORD_S)
        .map(|caller| caller.call(&asterisk, &folder));
    for talk in talks {
        talk.assert_heard();
    }
    asterisk.assert_empty();
    assert_legs_balance(&diglot);
}
