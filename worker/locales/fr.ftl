# Français. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Français
subject = Votre code de connexion { $app }
# Follows the code and a space, and ends the sentence.
code-is = est votre code de connexion { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] une minute
   *[other] { $minutes } minutes
  }
valid-for = Demandé à { $asked_at }. Valable { minutes }, jusqu’à { $expires_at }, et une seule fois.
# Shown beside the subject in a list of mails.
preheader = Demandé à { $asked_at }, valable jusqu’à { $expires_at }.
not-asked = Si vous n’avez pas demandé ce code, ignorez simplement cet e-mail : sans ce code, personne ne peut se connecter.
never-share = { $app } ne vous demandera jamais de le communiquer.
help = Besoin d’aide ?
