# Italiano. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Italiano
subject = Il tuo codice di accesso a { $app }
# Follows the code and a space, and ends the sentence.
code-is = è il tuo codice di accesso a { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] un minuto
   *[other] { $minutes } minuti
  }
valid-for = Richiesto alle { $asked_at }. Vale per { minutes }, fino alle { $expires_at }, e una volta sola.
# Shown beside the subject in a list of mails.
preheader = Richiesto alle { $asked_at }, valido fino alle { $expires_at }.
not-asked = Se non hai richiesto questo codice, ignora questa email: senza il codice nessuno può accedere.
never-share = { $app } non ti chiederà mai di comunicarlo.
help = Serve aiuto?
