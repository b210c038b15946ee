from django.db import migrations, models


def first(apps, schema_editor):
    apps.get_model("notes", "Note").objects.create(text="the first note, from a migration")


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Note",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=200)),
            ],
        ),
        migrations.RunPython(first, migrations.RunPython.noop),
    ]
