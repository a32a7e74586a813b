# Español. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = Español
subject = Tu código de acceso a { $app }
# Follows the code and a space, and ends the sentence.
code-is = es tu código de acceso a { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [one] un minuto
   *[other] { $minutes } minutos
  }
valid-for = Solicitado a las { $asked_at }. Sirve durante { minutes }, hasta las { $expires_at }, y una sola vez.
# Shown beside the subject in a list of mails.
preheader = Solicitado a las { $asked_at }, válido hasta las { $expires_at }.
not-asked = Si no has pedido este código, puedes ignorar este correo: sin el código nadie puede entrar.
never-share = { $app } nunca te pedirá que lo compartas.
help = ¿Necesitas ayuda?
