from django.db import migrations, models

ID = ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))
AT = ("at", models.DateTimeField(auto_now_add=True))


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(name="Done", fields=[ID, ("name", models.CharField(max_length=100)), AT]),
        migrations.CreateModel(name="Tick", fields=[ID, AT]),
    ]
