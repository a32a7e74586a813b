# 简体中文. Not yet checked by a native reader.
# Variables: $app, $asked_at, $expires_at (a time with its zone), $minutes (a number).

language = 简体中文
subject = 您的 { $app } 登录验证码
# Follows the code and a space, and ends the sentence.
code-is = 是您的 { $app } 登录验证码。
# Used in valid-for.
minutes = { $minutes ->
   *[other] { $minutes } 分钟
  }
valid-for = 请求时间：{ $asked_at }。{ minutes }内有效，至 { $expires_at }，仅可使用一次。
# Shown beside the subject in a list of mails.
preheader = 请求时间：{ $asked_at }，有效至 { $expires_at }。
not-asked = 如果不是您本人请求的，请忽略此邮件：没有验证码，任何人都无法登录。
never-share = { $app } 绝不会要求您将验证码告诉他人。
help = 需要帮助？
