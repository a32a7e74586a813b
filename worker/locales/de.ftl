# Deutsch. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Deutsch
subject = Ihr Anmeldecode für { $app }
# Follows the code and a space, and ends the sentence.
code-is = ist Ihr Anmeldecode für { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] eine Minute
   *[other] { $minutes } Minuten
  }
valid-for = Angefordert um { $asked_at }. Noch { minutes } gültig, bis { $expires_at }, und nur einmal.
# Shown beside the subject in a list of mails.
preheader = Angefordert um { $asked_at }, gültig bis { $expires_at }.
not-asked = Wenn Sie diesen Code nicht angefordert haben, können Sie diese Mail ignorieren: Ohne ihn kann sich niemand anmelden.
never-share = { $app } wird Sie nie bitten, ihn weiterzugeben.
help = Brauchen Sie Hilfe?
