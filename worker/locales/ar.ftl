# العربية. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = العربية
subject = رمز تسجيل الدخول إلى { $app }
# Follows the code and a space, and ends the sentence.
code-is = هو رمز تسجيل دخولك إلى { $app }.
# Used in valid-for.
minutes = { $minutes ->
    [zero] { $minutes } دقيقة
    [one] دقيقة واحدة
    [two] دقيقتين
    [few] { $minutes } دقائق
    [many] { $minutes } دقيقة
   *[other] { $minutes } دقيقة
  }
valid-for = طلبته في الساعة { $asked_at }. يعمل لمدة { minutes }، حتى { $expires_at }، ولمرة واحدة فقط.
# Shown beside the subject in a list of mails.
preheader = طُلب في الساعة { $asked_at }، ويعمل حتى { $expires_at }.
not-asked = إذا لم تطلب هذا الرمز فتجاهل هذه الرسالة: لا يمكن لأحد تسجيل الدخول بدونه.
never-share = لن يطلب منك { $app } مشاركته مع أحد أبدًا.
help = هل تحتاج إلى مساعدة؟
